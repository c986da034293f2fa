"""Genetic search, steady-state and without a generation barrier.

Tournaments (Goldberg and Deb 1991), uniform crossover (Syswerda 1989) with intermediate recombination on ordered axes
(Mühlenbein and Schlierkamp-Voosen 1993), and mutation whose step follows the spread of the parents, as in differential
evolution (Storn and Price 1997): it narrows as the search closes in. The elite survives until something fitter comes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.pool import Pool
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer

_UNIFORM = 0.5  # chance that a value on an axis is one parent's rather than from between them
_OVERREACH = 0.25  # how far beyond its parents a child may lie on an axis, as a part of their distance
_BOLD_AFTER = 10  # attempts at a new child after which mutations grow
_ANY_AFTER = 60  # attempts after which any candidate of the space will do
_LEAST_STEP, _MOST_STEP = 0.005, 0.3


class Genetic(SearchOptimizer):
    """Search by breeding from the fittest `population` results told so far, those of earlier runs among them.

    The first `founders` trials are drawn at random; a pending trial counts as one of them, so that no worker waits. A
    parent is the best of `tournament` drawn members. Each variable comes from one parent, or on an axis from between
    them, and changes with the chance of one in all variables. A variable that only one parent uses comes from it, one
    that neither uses is drawn. With `patience` the search ends after so many populations of results in a row without a
    new best one. Raises OptimizerError for settings that cannot be, and from `start` for several objectives.
    """

    name = "genetic"

    def __init__(
        self,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        population: int = 12,
        founders: int = 10,
        tournament: int = 3,
        patience: int | None = None,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        least = {"population": (population, 2), "founders": (founders, 1), "tournament": (tournament, 1)}
        if patience is not None:
            least["patience"] = (patience, 1)
        problems = [f"{key} must be at least {low}, got {value}" for key, (value, low) in least.items() if value < low]
        if problems:
            raise OptimizerError(f"{self.name}: {'; '.join(problems)}.")
        self._population, self._founders = population, founders
        self._tournament, self._patience = tournament, patience

    def prepare(self) -> None:
        """Begin with the results of earlier runs."""
        self._pool = Pool(self.name, self.context, self._population)
        self._best: int | None = None
        self._told = self._improved = 0
        self._used: dict[str, frozenset[str]] = {}
        for told in self.book.earlier:
            self._pool.add(told)
        self._look_over()

    def learn(self, told: Told) -> None:
        """Let a result into the population if it is fit enough."""
        self._pool.add(told)
        self._look_over()
        self._told += 1
        best = self.book.best
        if best is not None and best.number != self._best:
            self._best, self._improved = best.number, self._told

    def propose(self, number: int) -> Ask | None:
        """Return a founder or a child; None once patience is over."""
        if self._patience is not None and self._told - self._improved >= self._patience * self._population:
            return None
        return self.unseen(lambda attempt: self._next(number, attempt))

    def _next(self, number: int, attempt: int) -> Candidate | None:
        rng = seeded(self.context.seed, self.name, number, attempt)
        known = number + len(self.book.earlier)
        if known < self._founders or len(self._pool.entries) < 2 or attempt >= _ANY_AFTER:  # noqa: PLR2004 - parents
            return self.space.sample(rng)
        boldness = 2.0 ** (attempt // _BOLD_AFTER)
        return self.space.repair(self._child(rng, boldness), rng)

    def _child(self, rng: random.Random, boldness: float) -> dict[str, Any]:
        mother, father = self._parent(rng), self._parent(rng)
        values = {name: self._crossed(name, mother, father, rng) for name in self.space.free}
        chosen = [name for name in self.space.free if rng.random() < boldness / len(self.space.free)]
        for name in chosen or [rng.choice(self.space.free)]:
            strength = min(1.0, boldness * self._steps.get(name, _MOST_STEP))
            values[name] = self.space.variables[name].mutate(values[name], rng, strength)
        return values

    def _parent(self, rng: random.Random) -> Candidate:
        drawn = [rng.randrange(len(self._pool.entries)) for _ in range(self._tournament)]
        return self._pool.entries[min(drawn)].candidate

    def _crossed(self, name: str, mother: Candidate, father: Candidate, rng: random.Random) -> Any:
        variable, one, other = self.space.variables[name], mother.values[name], father.values[name]
        users = [parent for parent in (mother, father) if name in self._used[parent.key]]
        if len(users) < 2:  # noqa: PLR2004 - neither both; what neither uses is drawn, should the child use it
            return users[0].values[name] if users else variable.sample(rng)
        if variable.scale not in ("real", "ordinal") or one == other or rng.random() < _UNIFORM:
            return rng.choice((one, other))
        start, end = variable.unit(one), variable.unit(other)
        where = start + (end - start) * rng.uniform(-_OVERREACH, 1 + _OVERREACH)
        return variable.at(min(1.0, max(0.0, where)))

    def _look_over(self) -> None:
        """Note which variables each member uses, and the spread on each axis, the step of a mutation there."""
        entries, known = self._pool.entries, self._used
        self._used = {
            key: known[key] if key in known else self.space.active(candidate.values)
            for key, candidate in ((entry.candidate.key, entry.candidate) for entry in entries)
        }
        self._steps: dict[str, float] = {}
        for name in self.space.free:
            variable = self.space.variables[name]
            if variable.scale in ("real", "ordinal") and len(entries) > 1:
                units = [variable.unit(entry.candidate.values[name]) for entry in entries]
                self._steps[name] = min(_MOST_STEP, max(_LEAST_STEP, _deviation(units)))


def _deviation(units: Sequence[float]) -> float:
    mean = math.fsum(units) / len(units)
    return math.sqrt(math.fsum((unit - mean) ** 2 for unit in units) / len(units))
