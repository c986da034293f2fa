"""`Sampling`: how often a system is looked at, how much of it is kept, and over which time rates are taken."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.errors import SpecError

_MAX_RETENTION = 100_000
_MIN_RETENTION = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """A look every `interval_s` seconds, each within `timeout_s`; the latest `retention` samples are kept.

    The defaults keep 1440 samples of 5 s, which are 2 hours; see `retention_h`. `window_s` and `failure_window_s` are
    those of `Roster`; a value is unusual beyond `sigmas` standard deviations. Raises SpecError.
    """

    interval_s: float = 5.0
    retention: int = 1440
    timeout_s: float = 10.0
    window_s: float = 60.0
    failure_window_s: float = 300.0
    sigmas: float = 3.0

    def __post_init__(self) -> None:
        for name in ("interval_s", "timeout_s", "window_s", "failure_window_s", "sigmas"):
            if not getattr(self, name) > 0:
                raise SpecError(f"sampling: {name} must be above 0, got {getattr(self, name)!r}.")
        if not _MIN_RETENTION <= self.retention <= _MAX_RETENTION:
            bounds = f"{_MIN_RETENTION} to {_MAX_RETENTION}"
            raise SpecError(f"sampling: retention must be from {bounds} samples, got {self.retention!r}.")

    @property
    def retention_h(self) -> float:
        """Hours that the samples kept span."""
        return self.retention * self.interval_s / 3600.0

    @property
    def stale_s(self) -> float:
        """Age in seconds beyond which the latest sample says nothing of now: three intervals and a look."""
        return 3 * self.interval_s + self.timeout_s
