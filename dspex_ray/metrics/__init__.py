"""Metrics: how good an output is for an example, from 0 (wrong) to 1 (right)."""

from __future__ import annotations

from dspex_ray.metrics.base import Metric, MetricError, Scored, output_values
from dspex_ray.metrics.contains import Contains, contains
from dspex_ray.metrics.exact import Exact, exact
from dspex_ray.metrics.f1 import F1, f1
from dspex_ray.metrics.field_metric import FieldMetric
from dspex_ray.metrics.judge import Judge, judge
from dspex_ray.metrics.names import METRICS, default_metric, resolve_metric
from dspex_ray.metrics.numeric import Numeric, numeric
from dspex_ray.metrics.scoring import close_metric, metric_name, score, scored
from dspex_ray.metrics.semantic import Semantic, semantic
from dspex_ray.metrics.weighted import Weighted, weighted

__all__ = [
    "F1",
    "METRICS",
    "Contains",
    "Exact",
    "FieldMetric",
    "Judge",
    "Metric",
    "MetricError",
    "Numeric",
    "Scored",
    "Semantic",
    "Weighted",
    "close_metric",
    "contains",
    "default_metric",
    "exact",
    "f1",
    "judge",
    "metric_name",
    "numeric",
    "output_values",
    "resolve_metric",
    "score",
    "scored",
    "semantic",
    "weighted",
]
