"""Asks systems for their figures when Prometheus does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dspex_agents.agent import TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.metrics.figures import SystemFigures, Values
from dspex_agents.metrics.table import METRICS

_log = logging.getLogger(__name__)

Family = GaugeMetricFamily | CounterMetricFamily


class Watched(Protocol):
    """What the collector needs of a system; `dspex_agents.System` is one."""

    name: str

    def tree(self, timeout_s: float) -> TreeNode:
        """Return the tree as of now."""
        ...


class SystemCollector(Collector):
    """A collector of one or several systems, for any `prometheus_client` registry. Threads may share it.

    Each system is given `timeout_s` seconds a scrape. One that does not answer in that time, or fails otherwise, shows
    `dspex_up` 0 and no other figures; the scrape itself never fails.
    """

    def __init__(self, *systems: Watched, timeout_s: float = 5.0, clock: Clock | None = None) -> None:
        self._timeout_s, self._clock = timeout_s, clock or SystemClock()
        self._watched = [(system, SystemFigures(system.name)) for system in systems]
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Family]:
        """Return the families without a value: registering asks no system."""
        return _families([])

    def collect(self) -> Iterable[Family]:
        """Return the families with the values of now."""
        with self._lock:  # looks at a tree must be counted in the order in which they were taken
            return _families([self._scrape(system, figures) for system, figures in self._watched])

    def _scrape(self, system: Watched, figures: SystemFigures) -> Values:
        began_at = self._clock.monotonic()
        try:
            tree = system.tree(self._timeout_s)
            values = figures.observe(tree)
        except Exception as error:  # noqa: BLE001 - the boundary to Prometheus: a system that is down is a value
            _log.warning("system %r did not tell its figures: %s: %s", system.name, type(error).__name__, error)
            values = {"dspex_up": {(system.name,): 0.0}}
        else:
            values["dspex_up"] = {(system.name,): 1.0}
            values["dspex_dead_letters"] = {(system.name,): float(tree.dead_letters)}
        values["dspex_scrape_duration_seconds"] = {(system.name,): self._clock.monotonic() - began_at}
        return values


def _families(scraped: list[Values]) -> list[Family]:
    """Return a family for each row of the table, in its order."""
    found = []
    for metric in METRICS:
        family_class = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family: Family = family_class(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
        for values in scraped:
            for labels, value in values.get(metric.name, {}).items():
                family.add_metric(labels, value)
        found.append(family)
    return found
