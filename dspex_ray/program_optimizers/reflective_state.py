"""All that a reflective evolution remembers beside the book of its trials, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_ray.program_optimizers.reflective_pool import Individual
from dspex_ray.program_optimizers.reflective_task import DUTIES, Duty, Task

_MEMORY = 0.8  # how much of what was known of a kind of attempt counts after one more of it
_LEAST_CREDIT = 0.1  # of a kind that never succeeds: what did not help may help later

_COUNTS = ("train_rows", "validation_rows", "started", "stale", "failures")


@dataclass(slots=True)
class Evolution:
    """The candidates accepted, the attempts under way by number, and what the next trials are for.

    `duties` says by the number of a pending trial what it is for and whose, `ready` what further trials may be opened.
    `stale` counts the attempts ended since the last new best candidate, `failures` those that failed in a row, `tally`
    how attempts ended; `credit` is about which share of the last attempts of a kind was accepted. `train_rows` and
    `validation_rows` are those paid for, without the opening.
    """

    pool: list[Individual] = field(default_factory=list)
    tasks: dict[int, Task] = field(default_factory=dict)
    ready: list[tuple[Duty, int]] = field(default_factory=list)
    duties: dict[int, tuple[Duty, int]] = field(default_factory=dict)
    train_rows: int = 0
    validation_rows: int = 0
    started: int = 0
    stale: int = 0
    failures: int = 0
    tally: dict[str, int] = field(default_factory=dict)
    credit: dict[str, float] = field(default_factory=lambda: {"reflect": 1.0, "vary": 1.0})

    def take(self, number: int) -> tuple[Duty, int]:
        """Return what trial `number` is to do, of what is ready what is nearest to an end; at least one is ready."""
        duty = min(self.ready, key=lambda one: DUTIES.index(one[0]))
        self.ready.remove(duty)
        self.duties[number] = duty
        return duty

    def make_ready(self, what: Duty, task: Task) -> bool:
        """Note the next step of an attempt; True."""
        self.ready.append((what, task.number))
        return True

    def close(self, task: Task, outcome: str) -> None:
        """End an attempt."""
        del self.tasks[task.number]
        self.tally[outcome] = self.tally.get(outcome, 0) + 1
        if outcome == "failed":  # says nothing of the candidate, so nothing of the search either
            self.failures += 1
        else:
            self.failures, self.stale = 0, self.stale + 1
            new = (1 - _MEMORY) * (outcome == "accepted")
            self.credit[task.kind] = max(_LEAST_CREDIT, _MEMORY * self.credit[task.kind] + new)

    def chance_to_vary(self, before: float) -> float:
        """Return the chance that an attempt changes variables, of what it was before any attempt and their success.

        Adaptive choice of operators by their rate of success (D. Thierens, "Adaptive strategies for operator
        allocation", 2007), with a least share for each.
        """
        vary, reflect = before * self.credit["vary"], (1 - before) * self.credit["reflect"]
        return vary / (vary + reflect)

    def open_attempts(self) -> list[int]:
        """Return the parents of the attempts under way."""
        return [task.parent for task in self.tasks.values()]

    def racing(self) -> set[int]:
        """Return the candidates that are looked at on validation rows."""
        return {who for what, who in self.duties.values() if what == "race"}

    def busy(self, parent: int) -> set[int]:
        """Return the train rows that attempts under way with this parent are about."""
        return {row for task in self.tasks.values() if task.parent == parent for row in task.rows}

    def holds(self, candidate: Candidate) -> bool:
        """Say whether a candidate was accepted, or is about to be tested."""
        tested = (task.child for task in self.tasks.values() if task.child is not None)
        return any(one.candidate == candidate for one in self.pool) or any(
            Candidate(values) == candidate for values in tested
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "pool": [one.to_json() for one in self.pool],
            "tasks": [one.to_json() for one in self.tasks.values()],
            "ready": [list(one) for one in self.ready],
            "duties": [[number, *duty] for number, duty in self.duties.items()],
            "tally": dict(self.tally),
            "credit": dict(self.credit),
            **{name: getattr(self, name) for name in _COUNTS},
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Evolution:
        """Rebuild from `to_json`."""
        return Evolution(
            pool=[Individual.from_json(one) for one in data["pool"]],
            tasks={one["number"]: Task.from_json(one) for one in data["tasks"]},
            ready=[(what, who) for what, who in data["ready"]],
            duties={number: (what, who) for number, what, who in data["duties"]},
            tally=dict(data["tally"]),
            credit=dict(data["credit"]),
            **{name: data[name] for name in _COUNTS},
        )
