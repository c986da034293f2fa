"""Circuit breakers: stop calling what keeps failing, try it once after a while, go on when it holds (Nygard, 2007)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from dspex_agents.errors import MessageError, SpecError

BreakerState = Literal["closed", "open", "half_open"]


class BreakerOpenError(MessageError):
    """The breaker of this kind of work lets nothing through now; the work was not begun."""

    retryable = True
    counts_as_failure = False

    def __init__(self, kind: str, retry_after_s: float) -> None:
        super().__init__(kind, retry_after_s)
        self.kind, self.retry_after_s = kind, retry_after_s

    def __str__(self) -> str:
        when = f"ask again in {self.retry_after_s:.3g} s" if self.retry_after_s else "its one trial is under way"
        return f"The circuit breaker of {self.kind!r} is not closed; {when}."


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a breaker opens and closes.

    `failure_threshold` failures in a row open it; after `reset_s` seconds one trial at a time is let through;
    `success_threshold` trials in a row that succeed close it, one that fails opens it again.
    """

    failure_threshold: int = 5
    success_threshold: int = 3
    reset_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "success_threshold"):
            if getattr(self, name) < 1:
                raise SpecError(f"breaker.{name} must be at least 1, got {getattr(self, name)}.")
        if not self.reset_s > 0:  # also refuses NaN
            raise SpecError(f"breaker.reset_s must be a positive number of seconds, got {self.reset_s}.")


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call; its outcome is reported with it, so that a late one is told from the trial's."""

    generation: int
    number: int


@dataclass(frozen=True, slots=True)
class BreakerOpen:
    """No leave: the breaker is open for `retry_after_s` seconds more, or (0) its one trial is under way."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """A breaker at one moment. `failures` in a row while closed, `successes` in a row while half open."""

    state: BreakerState
    failures: int
    successes: int
    retry_after_s: float
    times_opened: int


class CircuitBreaker:
    """One breaker: pure decisions, times passed in (seconds that never go back). Calls run outside of it.

    Ask `allow`; then report the permit to exactly one of `success`, `failure` or `release`. What belongs to a state
    that has passed (a slow call begun before the breaker opened) changes nothing.
    """

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self.settings = settings or BreakerSettings()
        self.times_opened = 0
        self._state: BreakerState = "closed"
        self._opened_at = 0.0
        self._failures = self._successes = 0
        self._generation = self._last_permit = 0
        self._trial: int | None = None

    def allow(self, now: float) -> Permit | BreakerOpen:
        """Return leave for one call, or for how long there is none."""
        match self._advance(now):
            case "open":
                return BreakerOpen(self._opened_at + self.settings.reset_s - now)
            case "half_open" if self._trial is not None:
                return BreakerOpen(0.0)
            case state:
                self._last_permit += 1
                if state == "half_open":
                    self._trial = self._last_permit
                return Permit(self._generation, self._last_permit)

    def success(self, permit: Permit, now: float) -> None:
        """Report that the call succeeded."""
        match self._advance(now):
            case "closed" if permit.generation == self._generation:
                self._failures = 0
            case "half_open" if permit.number == self._trial:
                self._trial = None
                self._successes += 1
                if self._successes >= self.settings.success_threshold:
                    self._enter("closed")

    def failure(self, permit: Permit, now: float) -> None:
        """Report that the call failed."""
        match self._advance(now):
            case "closed" if permit.generation == self._generation:
                self._failures += 1
                if self._failures >= self.settings.failure_threshold:
                    self._open(now)
            case "half_open" if permit.number == self._trial:
                self._open(now)

    def release(self, permit: Permit) -> None:
        """Report that the call said nothing of what it calls: it was cancelled, or never begun."""
        if permit.number == self._trial:
            self._trial = None

    def reset(self) -> None:
        """Close by hand, whatever happened."""
        self._enter("closed")

    def state(self, now: float) -> BreakerState:
        """Return the state of this moment."""
        return self._advance(now)

    def status(self, now: float) -> BreakerStatus:
        """Return the state of this moment with its counts."""
        state = self._advance(now)
        wait_s = self._opened_at + self.settings.reset_s - now if state == "open" else 0.0
        return BreakerStatus(state, self._failures, self._successes, wait_s, self.times_opened)

    def _advance(self, now: float) -> BreakerState:
        if self._state == "open" and now >= self._opened_at + self.settings.reset_s:
            self._enter("half_open")
        return self._state

    def _open(self, now: float) -> None:
        self._opened_at = now
        self.times_opened += 1
        self._enter("open")

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._failures = self._successes = 0
        self._generation += 1
        self._trial = None


class Breakers:
    """One breaker for each kind of work, at most `most` of them.

    When a new kind finds no place, the breaker longest unused goes, a closed one if there is one. A caller that still
    holds a breaker reports to it unharmed.
    """

    def __init__(self, settings: BreakerSettings | None = None, *, most: int = 1000) -> None:
        if most < 1:
            raise SpecError(f"breakers: most must be at least 1, got {most}.")
        self.settings, self.most = settings or BreakerSettings(), most
        self._by_kind: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def of(self, kind: str, now: float) -> CircuitBreaker:
        """Return the breaker of this kind, a new closed one at first use."""
        breaker = self._by_kind.get(kind)
        if breaker is None:
            if len(self._by_kind) >= self.most:
                del self._by_kind[self._least_needed(now)]
            breaker = self._by_kind[kind] = CircuitBreaker(self.settings)
        self._by_kind.move_to_end(kind)
        return breaker

    def reset(self, kind: str | None = None) -> tuple[str, ...]:
        """Close the breaker of this kind, or all of them, by hand; return the kinds that were found."""
        kinds = tuple(self._by_kind) if kind is None else ((kind,) if kind in self._by_kind else ())
        for found in kinds:
            self._by_kind[found].reset()
        return kinds

    def status(self, now: float) -> dict[str, BreakerStatus]:
        """Return the status of every kind met so far."""
        return {kind: breaker.status(now) for kind, breaker in self._by_kind.items()}

    def _least_needed(self, now: float) -> str:
        closed = (kind for kind, breaker in self._by_kind.items() if breaker.state(now) == "closed")
        return next(closed, next(iter(self._by_kind)))
