"""How many requests to keep open at an endpoint that does not say: more while it copes, far fewer when it does not."""

from __future__ import annotations

import math
from typing import Final

_CUT: Final = 0.7


class AdaptiveConcurrency:
    """Additive increase, multiplicative decrease (Chiu and Jain, 1989; TCP's rule, and Netflix's AIMD limiter).

    Begins at the ceiling, so it costs nothing where nothing fails. A call that met overload (429, 503, a timeout) cuts
    the limit to 0.7 of itself, once for all calls that were open at that moment; a call that went well while half the
    limit was in use adds one for each `limit` of its kind. Pure: times are passed in.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._limit = float(ceiling)
        self._cut_at = -math.inf

    @property
    def limit(self) -> int:
        """How many may be open now: at least 1, unless the ceiling is 0."""
        return min(self.ceiling, max(1, int(self._limit)))

    def went_well(self, in_flight: int) -> None:
        """Note a call that was answered while so many were open, itself among them."""
        if in_flight * 2 >= self._limit and self._limit < self.ceiling:
            self._limit = min(float(self.ceiling), self._limit + 1.0 / max(1.0, self._limit))

    def met_overload(self, begun_at: float, now: float) -> None:
        """Note a call, begun at `begun_at`, that the endpoint had no room for."""
        if begun_at >= self._cut_at:
            self._limit = max(1.0, min(self._limit, float(self.ceiling)) * _CUT)
            self._cut_at = now
