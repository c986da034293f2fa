"""What a search makes large or small, and how results are compared."""

from __future__ import annotations

from dspex_coordination.objectives.objective import COST, LATENCY, SCORE, Bound, Direction, Objective, check_measures

__all__ = ["COST", "LATENCY", "SCORE", "Bound", "Direction", "Objective", "check_measures"]
