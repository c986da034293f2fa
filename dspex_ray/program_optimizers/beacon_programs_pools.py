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

MOST_OPTIONS = 12
"""Values of one variable that are chosen from at a time; the model of the search tells no more apart."""

_SIZES = (4, 16)  # of labelled sets and of nearest ones
_MADE = 8  # demonstrations, at most, of one set that a search finds
_LABELLED_SETS = 1  # of each size


class Pools:
    """By the name of an open text or a `Demos` variable all values known, and those to choose from at present.

    Begins with the defaults, labelled sets (even over the labels, drawn with `seed`), the nearest few, and what the
    candidates hold that the search begins with.
    """

    def __init__(self, space: Space, seed: int, candidates: Iterable[Candidate] = ()) -> None:
        self._space = space
        self._values: dict[str, list[Any]] = {}
        self._present: dict[str, list[Any]] = {}
        for name, variable in space.variables.items():
            if isinstance(variable, Demos):
                self._values[name] = [variable.default]
                self.add(name, _ready_sets(variable, seed))
            elif isinstance(variable, Text) and variable.pool is None:
                self._values[name] = [variable.default]
        for candidate in candidates:
            for name in self._values:
                self.add(name, [candidate.values[name]] if name in candidate.values else [])
        self.choose(())

    def values(self, name: str) -> Sequence[Any]:
        """Return the values to choose from; of a variable that has no pool here, none."""
        return self._values.get(name, ())

    def items(self) -> Iterable[tuple[str, Sequence[Any]]]:
        """Return all names with the values to choose from."""
        return self._values.items()

    def add(self, name: str, values: Iterable[Any]) -> int:
        """Add values and return how many are new; those that do not fit or are known are left out."""
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
            if canonical_json(checked) not in known:
                known.add(canonical_json(checked))
                held.append(checked)
        return len(held) - before

    def choose(self, asked: Sequence[Candidate]) -> None:
        """Choose again from the default, what was never asked, and what the best of these, best first, have."""
        for name, held in self._values.items():
            known = {canonical_json(value): value for value in held}
            tried = dict.fromkeys(canonical_json(one.values[name]) for one in asked)
            new = [key for key in known if key not in tried]
            order = dict.fromkeys([canonical_json(held[0]), *new[::-1], *(key for key in tried if key in known)])
            chosen = set(list(order)[:MOST_OPTIONS])
            self._present[name] = [value for key, value in known.items() if key in chosen]

    def space(self) -> Space:
        """Return the space in which these variables take the values chosen at present only."""
        variables = {name: self._narrowed(name, one) for name, one in self._space.variables.items()}
        return Space(variables, self._space.constraints)

    def least_tried(self, asked: Sequence[Candidate], rng: random.Random) -> dict[str, Any]:
        """Return for each variable with a pool one of the values that the fewest of these candidates have."""
        found: dict[str, Any] = {}
        for name, held in self._present.items():
            tried = Counter(canonical_json(one.values[name]) for one in asked)
            least = min(tried[canonical_json(value)] for value in held)
            found[name] = rng.choice([value for value in held if tried[canonical_json(value)] == least])
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the values by name."""
        return {
            name: {"all": list(values), "present": list(self._present[name])} for name, values in self._values.items()
        }

    def load(self, data: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Take over what `to_json` gave."""
        self._values = {name: list(values["all"]) for name, values in data.items()}
        self._present = {name: list(values["present"]) for name, values in data.items()}

    def _narrowed(self, name: str, variable: Variable[Any]) -> Variable[Any]:
        held = self._present.get(name)
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


def hard_sets(
    variable: Demos, made: Sequence[Mapping[str, Any]], ids: Sequence[str], most: int, seed: str
) -> list[dict[str, Any]]:
    """Return sets, as values of a `Demos` variable, of what a program did well and of labelled rows.

    Both come hardest first. Of `made` there is a set drawn evenly over the outputs of all, and one over those of the
    hardest; of the labelled rows in `ids` one drawn from the hardest, where the variable holds them.
    """
    rng = seeded(seed, "sets")
    size = min(most, _MADE)
    found: list[dict[str, Any]] = []
    if made:
        labels = [canonical_json(one["output"]) for one in made]
        hard = made[: 2 * size]
        drawn = [even(labels, size, rng), even([canonical_json(one["output"]) for one in hard], size, rng)]
        found += [{"select": "given", "demos": [dict(made[position]) for position in one]} for one in drawn]
    held = frozenset(variable.pool or ())
    wrong = [one for one in ids if one in held][: 2 * size]
    if len(wrong) >= size and "fixed" in variable.select:
        found.append({"select": "fixed", "ids": rng.sample(wrong, size)})
    return found


def even(labels: Sequence[str], size: int, rng: random.Random) -> list[int]:
    """Return `size` positions in a random order, no label twice before each that is left was taken once more."""
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for place, position in enumerate(rng.sample(range(len(labels)), len(labels))):
        turn = turns[labels[position]] = turns.get(labels[position], 0) + 1
        ranked.append((turn, place, position))
    chosen = [position for _, _, position in sorted(ranked)[:size]]
    return rng.sample(chosen, len(chosen))
