"""Retries as data: how long to wait, which errors are worth it, and a budget that keeps retries from piling up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, get_args

from dspex_agents.errors import SpecError

BackoffShape = Literal["exponential", "linear", "fixed", "immediate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and after what waits one unit of work is tried again.

    Wait before retry n (from 1): exponential `initial_s * factor**(n-1)`, linear `initial_s * n`, fixed `initial_s`,
    immediate 0. `jitter` spreads it by up to that share both ways; no wait is longer than `max_delay_s`. No retry
    begins later than `total_s` seconds after the first try did.
    """

    shape: BackoffShape = "exponential"
    initial_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 10.0
    total_s: float = 30.0
    max_retries: int = 3
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.shape not in get_args(BackoffShape):
            options = ", ".join(map(repr, get_args(BackoffShape)))
            raise SpecError(f"retry.shape must be one of {options}, got {self.shape!r}.")
        for name in ("initial_s", "max_delay_s", "total_s"):
            if not getattr(self, name) >= 0:  # also refuses NaN
                raise SpecError(f"retry.{name} must be seconds, not negative, got {getattr(self, name)}.")
        if self.factor < 1:
            raise SpecError(f"retry.factor must be at least 1, got {self.factor}.")
        if self.max_retries < 0:
            raise SpecError(f"retry.max_retries must not be negative, got {self.max_retries}.")
        if not 0 <= self.jitter < 1:
            raise SpecError(f"retry.jitter must be in [0, 1), got {self.jitter}.")

    def delay_s(self, retry: int, rng: random.Random) -> float:
        """Return the wait before retry number `retry` (from 1), in seconds."""
        match self.shape:
            case "exponential":
                plain = self.initial_s * self.factor ** min(retry - 1, 64)
            case "linear":
                plain = self.initial_s * retry
            case "fixed":
                plain = self.initial_s
            case "immediate":
                return 0.0
        return min(self.max_delay_s, min(self.max_delay_s, plain) * (1 + self.jitter * (2 * rng.random() - 1)))

    def next_delay_s(
        self, retry: int, elapsed_s: float, rng: random.Random, *, at_least_s: float = 0.0
    ) -> float | None:
        """Return the wait before retry `retry`, or None when the retries or the time are used up.

        `elapsed_s` is the time since the first try began; `at_least_s` is what the failing side asked for.
        """
        if retry > self.max_retries:
            return None
        delay = max(self.delay_s(retry, rng), at_least_s)
        return delay if elapsed_s + delay <= self.total_s else None


EXPONENTIAL: Final = RetryPolicy()
LINEAR: Final = RetryPolicy(shape="linear", max_delay_s=5.0)
FIXED: Final = RetryPolicy(shape="fixed", initial_s=1.0)
IMMEDIATE: Final = RetryPolicy(shape="immediate")

PolicyOrNever = RetryPolicy | Literal["never"]
ErrorClass = type[Exception] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """The bounds of a `RetryBudget`: `size` tokens, `per_success` earned by a success, `per_s` by time alone."""

    size: float = 10.0
    per_success: float = 0.2
    per_s: float = 0.1

    def __post_init__(self) -> None:
        if not self.size >= 1:
            raise SpecError(f"retry budget: size must be at least 1 (one retry), got {self.size}.")
        for name in ("per_success", "per_s"):
            if not getattr(self, name) >= 0:
                raise SpecError(f"retry budget: {name} must not be negative, got {getattr(self, name)}.")


class RetryBudget:
    """Tokens that retries cost, so that an outage is not answered with a storm of them. Times are passed in.

    Finagle's RetryBudget (https://finagle.github.io/blog/2016/02/08/retry-budgets: a fifth of the requests may be
    retried, and a few a second besides), with tokens earned by successes as in gRPC's retry throttling (proposal A6):
    where nothing succeeds, nothing is earned. At most `size + per_success * successes + per_s * seconds` retries.
    """

    def __init__(self, settings: BudgetSettings | None = None) -> None:
        self.settings = settings or BudgetSettings()
        self.denied = 0
        self._tokens = self.settings.size
        self._at: float | None = None

    def success(self, now: float) -> None:
        """Earn for one call that succeeded."""
        self._refill(now)
        self._tokens = min(self.settings.size, self._tokens + self.settings.per_success)

    def withdraw(self, now: float) -> bool:
        """Pay for one retry. False when the tokens do not reach: the retry must not be made."""
        self._refill(now)
        if self._tokens < 1:
            self.denied += 1
            return False
        self._tokens -= 1
        return True

    def balance(self, now: float) -> float:
        """Return the tokens of this moment."""
        self._refill(now)
        return self._tokens

    def _refill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._tokens = min(self.settings.size, self._tokens + (now - self._at) * self.settings.per_s)
        self._at = now if self._at is None else max(self._at, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicies:
    """Which policy an error gets: the first row of `table` that fits decides.

    A row is an error class (its subclasses fit too) or the name of one (of the error's class or any of its bases: the
    class itself may live on a floor that cannot be imported here), and a policy or "never". An error that no row fits
    gets `retryable` if its attribute of that name is True, and is otherwise never retried.
    """

    table: tuple[tuple[ErrorClass, PolicyOrNever], ...] = ()
    retryable: PolicyOrNever = EXPONENTIAL
    budget: BudgetSettings = BudgetSettings()

    def __post_init__(self) -> None:
        _check_policy("retryable", self.retryable)
        for number, (error, policy) in enumerate(self.table):
            _check_error_class(number, error)
            _check_policy(f"table[{number}]", policy)
            for earlier, (other, _) in enumerate(self.table[:number]):
                if _covers(other, error):
                    raise SpecError(
                        f"retries.table[{number}] ({_name(error)}) is never reached: table[{earlier}] "
                        f"({_name(other)}) fits first. Put the narrower class first."
                    )

    def policy_for(self, error: BaseException) -> RetryPolicy | None:
        """Return the policy of this error, or None when it is not to be retried."""
        for row, policy in self.table:
            if _covers(row, type(error)):
                return _policy(policy)
        return _policy(self.retryable) if getattr(error, "retryable", False) is True else None


def _policy(value: PolicyOrNever) -> RetryPolicy | None:
    return value if isinstance(value, RetryPolicy) else None


def _covers(row: ErrorClass, error: type[BaseException] | str) -> bool:
    if isinstance(error, str):
        return _name(row) == error
    if isinstance(row, str):
        return any(base.__name__ == row for base in error.__mro__)
    return issubclass(error, row)


def _name(row: ErrorClass) -> str:
    return row if isinstance(row, str) else row.__name__


def _check_error_class(number: int, value: object) -> None:
    if isinstance(value, str) and value.isidentifier():
        return
    if not (isinstance(value, type) and issubclass(value, Exception)):
        raise SpecError(f"retries.table[{number}] must name an exception class, got {value!r}.")


def _check_policy(where: str, value: object) -> None:
    if value != "never" and not isinstance(value, RetryPolicy):
        raise SpecError(f"retries.{where} must be a RetryPolicy or 'never', got {value!r}.")
