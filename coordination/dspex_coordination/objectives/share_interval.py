"""The interval of a share: how many of so many."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share (E. B. Wilson, 1927): sound for few trials and shares near 0 or 1.

    Raises ValueError for a share that cannot be.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"wilson needs 0 <= successes <= trials and a trial, got {successes} of {trials}.")
    z, share = NormalDist().inv_cdf((1 + level) / 2), successes / trials
    centre = share + z * z / (2 * trials)
    margin = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    denominator = 1 + z * z / trials
    low = 0.0 if successes == 0 else max(0.0, (centre - margin) / denominator)
    return low, 1.0 if successes == trials else min(1.0, (centre + margin) / denominator)
