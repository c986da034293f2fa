"""`PlotRequest`: which measures a chart shows."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_coordination.analysis import SearchRun
from dspex_coordination.objectives import COST


@dataclass(frozen=True, slots=True)
class PlotRequest:
    """What to draw of one or more searches.

    `measure` is by default their first objective. A Pareto chart shows `across` against `up`: by default the first
    two objectives, or cost against the only one.
    """

    runs: tuple[SearchRun, ...]
    measure: str | None = None
    across: str | None = None
    up: str | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """The measures of a Pareto chart: to the right, upwards."""
        named = [objective.name for objective in self.runs[0].objectives]
        up = self.up or next((name for name in named if name != self.across), named[0])
        others = [name for name in (*named, COST.name) if name != up]
        return self.across or (others[0] if others else up), up
