"""What a search makes large or small, how results are compared, and what is picked of a front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports
from dspex_coordination.objectives.comparison import Leaders, best_of, measured, ranked
from dspex_coordination.objectives.objective import (
    COST,
    LATENCY,
    PROMPT_TOKENS,
    RELIABILITY,
    SCORE,
    SURE_SCORE,
    TAIL_LATENCY,
    Bound,
    Direction,
    Objective,
    check_measures,
)

if TYPE_CHECKING:
    from dspex_coordination.objectives.crowding import crowding_distance
    from dspex_coordination.objectives.front import domination, ranks
    from dspex_coordination.objectives.interval import mean_interval
    from dspex_coordination.objectives.measures import measures_of
    from dspex_coordination.objectives.picks import knee, near_best, pick, weighted, within
    from dspex_coordination.objectives.volume import contributions, hypervolume

# those that need numpy, which the contract of an optimizer does not
_HOMES = {
    "contributions": "dspex_coordination.objectives.volume",
    "crowding_distance": "dspex_coordination.objectives.crowding",
    "domination": "dspex_coordination.objectives.front",
    "hypervolume": "dspex_coordination.objectives.volume",
    "knee": "dspex_coordination.objectives.picks",
    "mean_interval": "dspex_coordination.objectives.interval",
    "measures_of": "dspex_coordination.objectives.measures",
    "near_best": "dspex_coordination.objectives.picks",
    "pick": "dspex_coordination.objectives.picks",
    "ranks": "dspex_coordination.objectives.front",
    "weighted": "dspex_coordination.objectives.picks",
    "within": "dspex_coordination.objectives.picks",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "COST",
    "LATENCY",
    "PROMPT_TOKENS",
    "RELIABILITY",
    "SCORE",
    "SURE_SCORE",
    "TAIL_LATENCY",
    "Bound",
    "Direction",
    "Leaders",
    "Objective",
    "best_of",
    "check_measures",
    "contributions",
    "crowding_distance",
    "domination",
    "hypervolume",
    "knee",
    "mean_interval",
    "measured",
    "measures_of",
    "near_best",
    "pick",
    "ranked",
    "ranks",
    "weighted",
    "within",
]
