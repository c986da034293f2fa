"""The gate before a label: what a version must show on held-out rows to take the place of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dspex_ray.comparison import Comparison
from dspex_ray.errors import UsageError
from dspex_ray.versions.leaks import Leak


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Refuses a version that is surely worse, on the same rows, than the one in place: its whole interval below 0.

    `min_gain` above 0 asks for a difference of at least so much; `max_drop` for an interval that does not reach below
    minus so much, which a small held-out set cannot show. Both are shares of a score. Raises UsageError for others.
    """

    min_gain: float = 0.0
    max_drop: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_gain", "max_drop"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be a number of at least 0, got {value}.")

    def refusals(self, found: Comparison | None, leaks: Sequence[Leak]) -> tuple[str, ...]:
        """Return why a version may not pass, () if it may. `found` compares it, as second, with the one in place."""
        reasons = [str(leak) for leak in leaks]
        if found is None:
            return tuple(reasons)
        told = f"{100 * found.difference:+.1f} points, 95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f}"
        if found.high < 0:
            reasons.append(f"it is surely worse than the version in place ({told})")
        elif self.min_gain > 0 and found.difference < self.min_gain:
            reasons.append(f"it gains less than {100 * self.min_gain:.1f} points ({told})")
        if self.max_drop is not None and found.low < -self.max_drop:
            reasons.append(f"it may lose more than {100 * self.max_drop:.1f} points ({told})")
        return tuple(reasons)
