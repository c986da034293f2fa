"""`Limits`: what a sweep may spend and when it has had enough; both may be extended while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_coordination.sweep.settings import SweepSettings
from dspex_coordination.sweep.stop_rules import CostSpent, Standing, Stop


class Limits:
    """`stop` says why no further trial is asked. Once a rule is reached it stays so, whatever open trials may score.

    `extended` is what was allowed on top while the sweep ran: `trials` and `budget_usd`, as totals. It outlives its
    driver, and whoever resumes with less.
    """

    def __init__(self, settings: SweepSettings) -> None:
        self.stop: Stop | None = None
        self.extended: dict[str, Any] = {}
        self.budget_usd = settings.budget_usd
        self._goal = settings.stop

    def look(self, standing: Standing) -> bool:
        """Say whether another trial may be asked."""
        if self.stop is None:
            budget = None if self.budget_usd is None else CostSpent(self.budget_usd)
            stops = (rule.reached(standing) for rule in (budget, self._goal) if rule is not None)
            self.stop = next((stop for stop in stops if stop is not None), None)
        return self.stop is None

    def extend(self, data: Mapping[str, Any]) -> None:
        """Allow more; whether that is enough is seen at the next look."""
        self.extended |= data
        if "budget_usd" in data:
            self.budget_usd, self.stop = data["budget_usd"], None

    def take_over(self, extended: Mapping[str, Any]) -> None:
        """Stay with what an earlier driver was allowed, where it is more."""
        self.extended = dict(extended)
        if self.budget_usd is not None:
            self.budget_usd = max(self.budget_usd, extended.get("budget_usd", 0.0))
