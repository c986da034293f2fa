"""Designs of candidates that cover a space: random, weighted, Latin hypercube, Sobol and grid."""

from __future__ import annotations

from dspex_coordination.sampling.designs import grid, latin_hypercube, random_design, sobol, weighted
from dspex_coordination.sampling.points import latin_points, sobol_points
from dspex_coordination.sampling.walk import axes, candidate_at, distinct, distinct_at

__all__ = [
    "axes",
    "candidate_at",
    "distinct",
    "distinct_at",
    "grid",
    "latin_hypercube",
    "latin_points",
    "random_design",
    "sobol",
    "sobol_points",
    "weighted",
]
