"""When a served version is checked again, and when it is optimised again: a state machine without a clock."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dspex_ray.errors import UsageError

_HOUR_S = 3600.0
_REMEMBERED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """The defaults are those of ds_ex's ContinuousOptimizer; times are seconds, `threshold` is a score.

    Quality is checked every `check_every_s`. It is optimised again when the score is below `threshold`, when it
    declines and the last optimisation is `declining_after_s` ago, or when that is `overdue_after_s` ago; after one that
    failed not before `retry_after_s`. Raises UsageError for a time that is not above 0.
    """

    check_every_s: float = 6 * _HOUR_S
    threshold: float = 0.7
    declining_after_s: float = 12 * _HOUR_S
    overdue_after_s: float = 24 * _HOUR_S
    retry_after_s: float = 0.5 * _HOUR_S

    def __post_init__(self) -> None:
        wrong = {name: value for name, value in asdict(self).items() if name.endswith("_s") and not value > 0}
        if wrong:
            raise UsageError(f"Times of a drift policy are above 0 seconds, got {wrong}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What is known of a served version; JSON by `to_json`. Times are seconds since the epoch.

    `earlier` are the scores of up to 5 checks since the last optimisation, without the newest; `high` is the upper end
    of the newest one's interval.
    """

    optimized_at: float
    checked_at: float | None = None
    failed_at: float | None = None
    score: float | None = None
    high: float | None = None
    earlier: tuple[float, ...] = ()

    @property
    def is_declining(self) -> bool:
        """Whether the newest score's whole interval lies below the mean of the checks before it."""
        return bool(self.earlier) and self.high is not None and self.high < sum(self.earlier) / len(self.earlier)

    def checked(self, score: float, high: float, now: float) -> Drift:
        """Return what is known after a check of quality."""
        earlier = self.earlier if self.score is None else (*self.earlier, self.score)[-_REMEMBERED:]
        return replace(self, checked_at=now, score=score, high=high, earlier=earlier)

    def looked(self, now: float) -> Drift:
        """Return what is known after a check that came to no score."""
        return replace(self, checked_at=now)

    def optimized(self, now: float) -> Drift:
        """Return what is known once another version is in place: nothing but that."""
        return Drift(optimized_at=now)

    def failed(self, now: float) -> Drift:
        """Return what is known after an optimisation that failed or whose version was refused."""
        return replace(self, failed_at=now)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "earlier": list(self.earlier)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Drift:
        """Rebuild it from `to_json`."""
        return Drift(**{**data, "earlier": tuple(data["earlier"])})


@dataclass(frozen=True, slots=True)
class Next:
    """What is to be done now, and why; for `wait`, `at` is when to ask again (seconds since the epoch)."""

    action: Literal["wait", "check", "optimize"]
    why: str
    at: float


def next_step(known: Drift, policy: DriftPolicy, now: float) -> Next:
    """Return what is to be done now: optimise where there is a reason to, else check when it is time, else wait."""
    age = now - known.optimized_at
    retry_at = now if known.failed_at is None else known.failed_at + policy.retry_after_s
    check_at = (known.optimized_at if known.checked_at is None else known.checked_at) + policy.check_every_s
    why = _reason(known, policy, age)
    if why is not None and retry_at <= now:
        return Next("optimize", why, now)
    if check_at <= now:
        return Next("check", f"the last check is {policy.check_every_s / _HOUR_S:g} h ago", now)
    moments = [check_at, known.optimized_at + policy.overdue_after_s if why is None else retry_at]
    if why is None and known.is_declining:
        moments.append(known.optimized_at + policy.declining_after_s)
    return Next("wait", why or "all is well", min(moments))


def _reason(known: Drift, policy: DriftPolicy, age: float) -> str | None:
    if known.score is not None and known.score < policy.threshold:
        return f"the score {known.score:.3g} is below {policy.threshold:g}"
    if known.is_declining and age >= policy.declining_after_s:
        return f"the score declines and the last optimisation is {age / _HOUR_S:.1f} h ago"
    if age >= policy.overdue_after_s:
        return f"the last optimisation is {age / _HOUR_S:.1f} h ago"
    return None
