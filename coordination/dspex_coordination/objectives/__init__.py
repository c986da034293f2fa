"""What a search makes large or small, how results are compared, and what is picked of a front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports
from dspex_coordination.objectives.comparison import Leaders, best_of, measured, ranked
from dspex_coordination.objectives.objective import COST, LATENCY, SCORE, Bound, Direction, Objective, check_measures

if TYPE_CHECKING:
    from dspex_coordination.objectives.interval import mean_interval
    from dspex_coordination.objectives.measures import measures_of

# those that need numpy, which the contract of an optimizer does not
_HOMES = {
    "mean_interval": "dspex_coordination.objectives.interval",
    "measures_of": "dspex_coordination.objectives.measures",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "COST",
    "LATENCY",
    "SCORE",
    "Bound",
    "Direction",
    "Leaders",
    "Objective",
    "best_of",
    "check_measures",
    "mean_interval",
    "measured",
    "measures_of",
    "ranked",
]
