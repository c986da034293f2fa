"""Evaluation: a program's score on labelled rows, with an interval, the errors and the bill."""

from __future__ import annotations

from dspex_ray.evaluation.interruption import EvaluationInterruptedError
from dspex_ray.evaluation.result import Evaluation, RowScore, summarize
from dspex_ray.evaluation.run import Progress, aevaluate, evaluate, evaluate_rows
from dspex_ray.infrastructure import is_infrastructure

__all__ = [
    "Evaluation",
    "EvaluationInterruptedError",
    "Progress",
    "RowScore",
    "aevaluate",
    "evaluate",
    "evaluate_rows",
    "is_infrastructure",
    "summarize",
]
