"""A Grafana dashboard of the table's metrics: `python -m dspex_agents.metrics.dashboard` prints its JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from dspex_agents.metrics.table import METRICS, Metric

_UNITS = {"seconds": "s", "bytes": "bytes"}
_COLUMNS, _WIDTH, _HEIGHT = 2, 12, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard(metrics: Sequence[Metric] = METRICS) -> dict[str, object]:
    """Return a dashboard with one panel for each metric, a counter as its rate, for the systems chosen at the top."""
    return {
        "uid": "dspex-agents",
        "title": "dspex: agents",
        "tags": ["dspex"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable(), _system_variable()]},
        "panels": [_panel(place, metric) for place, metric in enumerate(metrics)],
    }


def expression(metric: Metric) -> str:
    """Return the PromQL of the metric's panel: summed by all labels, a counter as its rate a second."""
    chosen = f'{metric.name}{{system=~"$system"}}'
    value = f"rate({chosen}[$__rate_interval])" if metric.kind == "counter" else chosen
    return f"sum by ({', '.join(metric.labels)}) ({value})"


def _panel(place: int, metric: Metric) -> dict[str, object]:
    unit = _UNITS.get(metric.unit, "short")
    if metric.kind == "counter":
        unit = "percentunit" if metric.unit == "seconds" else "ops"  # seconds a second: how many are busy
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": metric.name,
        "description": metric.help,
        "datasource": _SOURCE,
        "gridPos": {
            "x": place % _COLUMNS * _WIDTH,
            "y": place // _COLUMNS * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": "A",
                "datasource": _SOURCE,
                "expr": expression(metric),
                "legendFormat": " ".join(f"{{{{{label}}}}}" for label in metric.labels),
            }
        ],
    }


def _source_variable() -> dict[str, object]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _system_variable() -> dict[str, object]:
    return {
        "name": "system",
        "label": "System",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(dspex_up, system)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(dashboard(), indent=2) + "\n")
