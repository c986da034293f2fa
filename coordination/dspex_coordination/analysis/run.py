"""`SearchRun`: the finished trials of one search and what they were compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import SweepError, near_matches
from dspex_coordination.objectives import (
    COST,
    LATENCY,
    PROMPT_TOKENS,
    SCORE,
    TAIL_LATENCY,
    Bound,
    Leaders,
    Objective,
)
from dspex_coordination.optimizers.base import Split
from dspex_coordination.space import Space

_SMALL_IS_GOOD = (COST, LATENCY, TAIL_LATENCY, PROMPT_TOKENS)


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """One trial that was told: what it was scored on, and the means by name; a failed one has none."""

    number: int
    candidate: Candidate
    rows: Sequence[int]
    measures: Mapping[str, float] = field(default_factory=dict)
    cost_usd: float = 0.0
    failed: str | None = None
    split: Split = "validation"
    teacher: bool = False


@dataclass(frozen=True, slots=True)
class SearchRun:
    """A search as it was told: `trials` in the order of the tells. It may still be running.

    `space_json` is what `Space.to_json` gave.
    """

    run_id: str
    space_json: Mapping[str, Any]
    trials: tuple[FinishedTrial, ...]
    objectives: tuple[Objective, ...] = (SCORE,)
    bounds: tuple[Bound, ...] = ()

    @property
    def space(self) -> Space:
        """The space, built anew. Raises SpaceError or VariableError for one that this version cannot build."""
        return Space.from_json(self.space_json)

    @property
    def scored(self) -> tuple[FinishedTrial, ...]:
        """The validation trials that have a score: those that can be the best."""
        return tuple(trial for trial in self.trials if trial.split == "validation" and trial.measures)

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures that any scored trial has, sorted."""
        return tuple(sorted({name for trial in self.scored for name in trial.measures}))

    def objective(self, name: str | None = None) -> Objective:
        """Return how a measure is judged: as the search did, else small for cost and latency, large for others.

        Without a name it is the search's first objective. Raises SweepError if no scored trial has that measure.
        """
        chosen = self.objectives[0].name if name is None else name
        if chosen not in self.measures:
            if not self.scored:
                raise SweepError(f"Sweep {self.run_id!r} has no scored trial yet, so there is nothing to look at.")
            raise SweepError(
                f"No trial of sweep {self.run_id!r} has a measure {chosen!r}. {near_matches(chosen, self.measures)}"
            )
        known = {one.name: one for one in (*_SMALL_IS_GOOD, *self.objectives)}
        return known.get(chosen, Objective(chosen))

    def having(self, *names: str) -> tuple[FinishedTrial, ...]:
        """Return the scored trials that have every one of these measures."""
        return tuple(trial for trial in self.scored if all(name in trial.measures for name in names))

    @property
    def rankable(self) -> tuple[FinishedTrial, ...]:
        """The scored trials that have every measure that this search compares by."""
        return self.having(*(one.name for one in self.objectives), *(bound.name for bound in self.bounds))

    @property
    def best(self) -> FinishedTrial | None:
        """The best trial as the search ranks them; None before there is one."""
        return self._leaders().best

    @property
    def front(self) -> list[FinishedTrial]:
        """The trials that no other beats in all objectives, by number."""
        return self._leaders().front

    def _leaders(self) -> Leaders[FinishedTrial]:
        leaders: Leaders[FinishedTrial] = Leaders(self)
        for trial in self.rankable:
            leaders.add(trial)
        return leaders
