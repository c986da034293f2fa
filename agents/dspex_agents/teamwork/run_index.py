"""The index of a coordinator's runs: those under way, the last that ended, and figures over all. No I/O."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.teamwork.member_pool import MemberFigures
from dspex_agents.teamwork.run_messages import CoordinationMetrics, RunLimitError, RunStatus, UnknownRunError

_NOTHING = MemberFigures(0, 0.0, 0, 0, "closed")


@dataclass(slots=True, eq=False)
class RunEntry:
    """One run under way: its agent, how many wait for its result, and whether it stops when nobody does.

    `opened` is set when the agent is up, or did not come up (not `is_up`); `ending` says why the run is being ended.
    """

    run_id: str
    agent: str
    started_at: float
    awaited: bool
    askers: int = 0
    ending: str = ""
    is_up: bool = False
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Any] | None = None


class RunIndex:
    """At most `most` runs under way and `history` ended ones."""

    def __init__(self, most: int, history: int) -> None:
        self.under_way: dict[str, RunEntry] = {}
        self.ended: OrderedDict[str, RunStatus] = OrderedDict()
        self._most, self._history = most, history
        self._total = 0
        self._outcomes: Counter[str] = Counter()
        self._duration_s = 0.0
        self._units: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def check_room(self, run_id: str) -> None:
        """Raise RunLimitError unless one more run may begin."""
        if len(self.under_way) >= self._most:
            raise RunLimitError(
                f"Run {run_id!r} was not begun: {self._most} runs are under way, the most that there may be. "
                "Ask again when one has ended."
            )

    def add(self, entry: RunEntry) -> None:
        """Note that a run is under way."""
        self.under_way[entry.run_id] = entry
        self._total += 1

    def end(self, status: RunStatus) -> None:
        """Move a run from those under way to those that ended."""
        self.under_way.pop(status.run_id, None)
        self.ended.pop(status.run_id, None)
        self.ended[status.run_id] = status
        while len(self.ended) > self._history:
            self.ended.popitem(last=False)
        self._outcomes[status.status] += 1
        self._duration_s += (status.ended_at or status.started_at) - status.started_at
        for name, figures in status.members.items():
            self._units[name] += figures.units
            self._failures[name] += figures.failures

    def entry(self, run_id: str) -> RunEntry:
        """Return a run under way. Raises UnknownRunError naming those that are."""
        if run_id not in self.under_way:
            after = f" It has ended: {self.ended[run_id].status}." if run_id in self.ended else ""
            raise UnknownRunError(
                f"No run {run_id!r} is under way here. Under way: {', '.join(self.under_way) or 'none'}.{after}"
            )
        return self.under_way[run_id]

    def metrics(self, tasks: int, team: Mapping[str, MemberFigures], running: list[RunStatus]) -> CoordinationMetrics:
        """Return the figures over all; `team` are those of the coordinator's own pool, `running` the runs under way."""
        over = sum(self._outcomes.values())
        pools = [status.members for status in running]
        return CoordinationMetrics(
            total=self._total,
            active=len(self.under_way),
            successful=self._outcomes["completed"],
            failed=self._outcomes["failed"],
            cancelled=self._outcomes["cancelled"],
            mean_duration_s=self._duration_s / over if over else 0.0,
            units=sum(self._units.values()) + sum(f.units for pool in pools for f in pool.values()),
            tasks=tasks,
            members={
                name: self._sum(name, [own, *(p[name] for p in pools if name in p)]) for name, own in team.items()
            },
        )

    def _sum(self, name: str, figures: list[MemberFigures]) -> MemberFigures:
        troubled = (figure for figure in figures if figure.state != "closed")
        return MemberFigures(
            in_flight=sum(f.in_flight for f in figures),
            load=max(f.load for f in figures),
            units=sum(f.units for f in figures) + self._units[name],
            failures=sum(f.failures for f in figures) + self._failures[name],
            state=next(troubled, _NOTHING).state,
        )
