"""What the trials of a search tell: its course, its fronts, the weight of its variables, and how two searches differ.

Everything here is computed from `SearchRun`, which holds what was told; nothing reads a store or draws a chart.
"""

from __future__ import annotations

from dspex_coordination.analysis.comparison import Standing, paired_scores, space_changes, standings
from dspex_coordination.analysis.dimension import Dimension, dimensions
from dspex_coordination.analysis.history import Step, history, reached
from dspex_coordination.analysis.importance import Importance, importances
from dspex_coordination.analysis.parallel import ParallelCoordinates, parallel_coordinates
from dspex_coordination.analysis.run import FinishedTrial, SearchRun
from dspex_coordination.analysis.tradeoff import Tradeoff, tradeoffs

__all__ = [
    "Dimension",
    "FinishedTrial",
    "Importance",
    "ParallelCoordinates",
    "SearchRun",
    "Standing",
    "Step",
    "Tradeoff",
    "dimensions",
    "history",
    "importances",
    "paired_scores",
    "parallel_coordinates",
    "reached",
    "space_changes",
    "standings",
    "tradeoffs",
]
