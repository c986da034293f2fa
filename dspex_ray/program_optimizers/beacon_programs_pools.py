"""`Pools`: the texts and the sets of demonstrations that a joint search chooses from, beside all other variables.

A text without a pool of its own and each `Demos` variable become a choice among listed values: the values themselves,
so that a candidate of the narrowed space is one of the whole space, and conditions and constraints hold as declared.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import SpaceError, VariableError
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.space import Space
from dspex_coordination.variables import Choice, Demos, Text, Variable

MOST_OPTIONS = 24
"""Values of one variable that are chosen from; the model of the search tells no more apart."""

_SIZES = (4, 16)  # of labelled sets and of nearest ones
_GIVEN_SIZES = (2, 4, 8)  # of sets that a program made
_LABELLED_SETS = 1  # of each size


class Pools:
    """By the name of an open text or a `Demos` variable the values to choose from; they only ever grow.

    Begins with the defaults, labelled sets (even over the labels, drawn with `seed`), the nearest few, and what the
    candidates hold that the search begins with.
    """

    def __init__(self, space: Space, seed: int, candidates: Iterable[Candidate] = ()) -> None:
        self._space = space
        self._values: dict[str, list[Any]] = {}
        for name, variable in space.variables.items():
            if isinstance(variable, Demos):
                self._values[name] = [variable.default]
                self.add(name, _ready_sets(variable, seed))
            elif isinstance(variable, Text) and variable.pool is None:
                self._values[name] = [variable.default]
        for candidate in candidates:
            for name in self._values:
                self.add(name, [candidate.values[name]] if name in candidate.values else [])

    def values(self, name: str) -> Sequence[Any]:
        """Return the values to choose from; of a variable that has no pool here, none."""
        return self._values.get(name, ())

    def add(self, name: str, values: Iterable[Any]) -> int:
        """Add values and return how many are new; those that do not fit, are known or have no room are left out."""
        held = self._values.get(name)
        if held is None:
            return 0
        before = len(held)
        known = {canonical_json(value) for value in held}
        for value in values:
            try:
                checked = self._space.variables[name].validate(value)
            except VariableError:
                continue
            if len(held) < MOST_OPTIONS and canonical_json(checked) not in known:
                known.add(canonical_json(checked))
                held.append(checked)
        return len(held) - before

    def space(self) -> Space:
        """Return the space in which these variables take the values of their pools only."""
        variables = {name: self._narrowed(name, one) for name, one in self._space.variables.items()}
        return Space(variables, self._space.constraints)

    def least_tried(self, asked: Sequence[Candidate], rng: random.Random) -> dict[str, Any]:
        """Return for each variable with a pool one of the values that the fewest of these candidates have."""
        found: dict[str, Any] = {}
        for name, held in self._values.items():
            tried = Counter(canonical_json(one.values[name]) for one in asked)
            least = min(tried[canonical_json(value)] for value in held)
            found[name] = rng.choice([value for value in held if tried[canonical_json(value)] == least])
        return found

    def to_json(self) -> dict[str, list[Any]]:
        """Return the values by name."""
        return {name: list(values) for name, values in self._values.items()}

    def load(self, data: Mapping[str, Sequence[Any]]) -> None:
        """Take over what `to_json` gave."""
        self._values = {name: list(values) for name, values in data.items()}

    def _narrowed(self, name: str, variable: Variable[Any]) -> Variable[Any]:
        held = self._values.get(name)
        if held is None:
            return variable
        if isinstance(variable, Text):
            return variable.with_pool(held)
        links: dict[str, Any] = {"when": variable.when, "requires": variable.requires, "conflicts": variable.conflicts}
        return Choice(held, **{key: one for key, one in links.items() if one}).named(name)


def fits(space: Space, candidate: Candidate) -> bool:
    """Return whether it is a candidate of the space."""
    try:
        space.validate(candidate.values)
    except SpaceError:
        return False
    return True


def _ready_sets(variable: Demos, seed: int) -> list[dict[str, Any]]:
    """Return the sets that need no model: none, those nearest to the question, and labelled ones."""
    pool = variable.pool or ()
    sizes = list(dict.fromkeys(min(size, variable.max, len(pool)) for size in _SIZES))
    if not pool or variable.max == 0:
        return []
    nearest = [{"select": "nearest", "k": size} for size in sizes] if variable.allows_nearest else []
    if "fixed" not in variable.select:
        return nearest
    labels = variable.labels or ("",) * len(pool)
    drawn = [
        even(labels, size, seeded(seed, "labelled", variable.label, size, number))
        for size in sizes
        for number in range(_LABELLED_SETS)
    ]
    labelled = [{"select": "fixed", "ids": [pool[position] for position in one]} for one in drawn]
    return [{"select": "fixed", "ids": []}, *nearest, *labelled]


def given_sets(demos: Sequence[Mapping[str, Any]], most: int, seed: str) -> list[dict[str, Any]]:
    """Return sets, as values of a `Demos` variable, of demonstrations that a program made, even over their outputs."""
    labels = [canonical_json(one["output"]) for one in demos]
    sizes = dict.fromkeys(min(size, most, len(demos)) for size in _GIVEN_SIZES)
    drawn = [even(labels, size, seeded(seed, "given", size)) for size in sizes if size]
    return [{"select": "given", "demos": [dict(demos[position]) for position in one]} for one in drawn]


def even(labels: Sequence[str], size: int, rng: random.Random) -> list[int]:
    """Return `size` positions in a random order, no label twice before each that is left was taken once more."""
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for place, position in enumerate(rng.sample(range(len(labels)), len(labels))):
        turn = turns[labels[position]] = turns.get(labels[position], 0) + 1
        ranked.append((turn, place, position))
    chosen = [position for _, _, position in sorted(ranked)[:size]]
    return rng.sample(chosen, len(chosen))
