"""NSGA-II, steady-state: a front of several objectives by non-dominated sorting and crowding.

Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEC 6 (2002),
with constrained domination (section VI). One child replaces one member, as Durillo et al. (EMO 2009) found better than
whole generations; so nothing waits for a generation to end. The defaults were chosen by hypervolume after 2,000
evaluations of ZDT1-4, ZDT6 and DTLZ2: a small population and wide steps.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.comparison import gains, violation
from dspex_coordination.objectives.crowding import crowding_distance, spread
from dspex_coordination.objectives.front import ranks
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.real_operators import polynomial, simulated_binary
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer

_AXES = ("real", "ordinal")
_BOLDER = 0.25  # by which part of it the chance of a mutation grows with each child that was asked before
_ANY_AFTER = 60  # attempts after which any candidate of the space will do
_STEP = 0.15  # of the axis, or of what it is to a variable without one, for those that mutate by themselves
_BLOCK = 500  # results of earlier runs that are sorted at once


@dataclass(frozen=True, slots=True)
class Member:
    """A scored candidate; `source` is its trial's number, or -1 - i for result i of the earlier runs."""

    source: int
    values: Mapping[str, Any]
    active: frozenset[str]
    gains: tuple[float, ...]
    violation: float


class NSGA2(SearchOptimizer):
    """Search for a front by breeding from the `population` best-placed results so far, those of earlier runs included.

    The first trials, as many as the population, are drawn at random. A parent is the better of two drawn members: of
    a lower front, or of the same front and lonelier. A child takes each variable from either parent, or on an ordered
    axis with even chance from around one of them (simulated binary crossover of `crossover_index`); with
    1 - `crossover_rate` it is a copy. Then one variable in the mean mutates, on an ordered axis by a polynomial step of
    `mutation_index`. A result that breaks a bound comes after all that keep them. Raises OptimizerError for settings
    that cannot be.
    """

    name = "nsga2"

    def __init__(
        self,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        population: int = 20,
        crossover_rate: float = 0.9,
        crossover_index: float = 5.0,
        mutation_index: float = 5.0,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        wrong = [] if population > 1 else [f"population must be at least 2, got {population}"]
        wrong += [] if 0.0 <= crossover_rate <= 1.0 else [f"crossover_rate must be from 0 to 1, got {crossover_rate}"]
        for key, index in (("crossover_index", crossover_index), ("mutation_index", mutation_index)):
            wrong += [] if index >= 0 else [f"{key} must be at least 0, got {index}"]
        if wrong:
            raise OptimizerError(f"{self.name}: {'; '.join(wrong)}.")
        self._population, self._rate = population, crossover_rate
        self._crossover_index, self._mutation_index = crossover_index, mutation_index

    def prepare(self) -> None:
        """Begin with the results of earlier runs."""
        self._members: list[Member] = []
        self._places: list[tuple[float, float]] = []
        self._all = frozenset(self.space.names)
        self._conditional = any(variable.when is not None for variable in self.space.variables.values())
        earlier = self.book.earlier
        for start in range(0, len(earlier), _BLOCK):
            block = enumerate(earlier[start : start + _BLOCK], start)
            self._settle([*self._members, *(self._member(-1 - index, told) for index, told in block)])

    def learn(self, told: Told) -> None:
        """Let a result into the population, and the worst-placed member out."""
        if told.split == "validation" and told.mean is not None:
            self._settle([*self._members, self._member(told.number, told)])

    def extra_state(self) -> dict[str, Any]:
        """Return which results are the population."""
        return {"population": [member.source for member in self._members]}

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over a population."""
        told, earlier = self.book.told, self.book.earlier
        sources: list[int] = extra["population"]
        self._settle([self._member(s, told[s] if s >= 0 else earlier[-1 - s]) for s in sources])

    def propose(self, number: int) -> Ask | None:
        """Return a random candidate of the first population, then children."""
        return self.unseen(lambda attempt: self._next(number, attempt))

    def _next(self, number: int, attempt: int) -> Candidate | None:
        rng = seeded(self.context.seed, self.name, number, attempt)
        first = number + len(self.book.earlier) < self._population
        if first or len(self._members) < 2 or attempt >= _ANY_AFTER:  # noqa: PLR2004 - two parents
            return self.space.sample(rng)
        return self.space.repair(self._child(rng, attempt), rng)

    def _child(self, rng: random.Random, attempt: int) -> dict[str, Any]:
        mother = self._parent(rng, None)
        values = dict(mother.values)
        if rng.random() < self._rate:
            father = self._parent(rng, mother)
            values = {name: self._crossed(name, mother, father, rng) for name in self.space.free}
        genes = sorted(mother.active.intersection(self.space.free)) or list(self.space.free)
        chance = (1.0 + _BOLDER * attempt) / len(genes)
        chosen = [name for name in genes if rng.random() < chance]
        for name in chosen or ([rng.choice(genes)] if attempt else []):
            values[name] = self._mutated(name, values[name], rng)
        return {name: values[name] for name in self.space.free}

    def _parent(self, rng: random.Random, other: Member | None) -> Member:
        candidates = [index for index, member in enumerate(self._members) if member is not other]
        one, two = rng.choice(candidates), rng.choice(candidates)
        return self._members[min(one, two, key=lambda index: self._places[index])]

    def _crossed(self, name: str, mother: Member, father: Member, rng: random.Random) -> Any:
        one, other = mother.values[name], father.values[name]
        if one == other:
            return one
        if (name in mother.active) != (name in father.active):  # who does not use it only holds its default
            return one if name in mother.active else other
        variable = self.space.variables[name]
        if variable.scale in _AXES and rng.random() < 0.5:  # noqa: PLR2004 - half the axes, as in the paper's code
            start, end = variable.unit(one), variable.unit(other)
            if start != end:
                return variable.at(simulated_binary(start, end, self._crossover_index, rng))
        return rng.choice((one, other))

    def _mutated(self, name: str, value: Any, rng: random.Random) -> Any:
        variable = self.space.variables[name]
        if variable.scale == "real":
            return variable.at(polynomial(variable.unit(value), self._mutation_index, rng))
        return variable.mutate(value, rng, _STEP)

    def _member(self, source: int, told: Told) -> Member:
        values, measures = told.candidate.values, told.measures
        return Member(
            source,
            values,
            self.space.active({name: values[name] for name in self.space.free}) if self._conditional else self._all,
            gains(measures, self.context.objectives),
            violation(measures, self.context.bounds),
        )

    def _settle(self, members: Sequence[Member]) -> None:
        """Keep the best-placed members; of the last front that has room, drop the most crowded one by one."""
        points = np.array([member.gains for member in members]).reshape(len(members), len(self.context.objectives))
        fronts = ranks(points, np.array([member.violation for member in members]))
        places: dict[int, tuple[float, float]] = {}
        for front in range(int(fronts.max(initial=-1)) + 1):
            inside = np.flatnonzero(fronts == front)
            inside = inside[spread(points[inside], self._population - len(places))]
            lonely = crowding_distance(points[inside])
            places |= {int(i): (float(front), -float(far)) for i, far in zip(inside, lonely, strict=True)}
            if len(places) == self._population:
                break
        self._members = [members[index] for index in sorted(places)]
        self._places = [places[index] for index in sorted(places)]
