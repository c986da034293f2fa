"""Candidates of a mixed, conditional space as points of one Euclidean space, and back.

| scale of a variable | its columns                                                                                   |
|---------------------|-----------------------------------------------------------------------------------------------|
| real, ordinal       | one: where the value lies among all draws, in [0, 1]                                          |
| nominal             | one an option: any two options are 1 apart (a Hamming distance); two options share one column |
| structured          | one an example, shrunk so that sets without overlap are 1 apart; the mode; the number         |

An inactive variable is in the middle of its columns whatever its default is, so that it moves no two candidates apart.
Computed variables follow from the others and have no columns.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dspex_coordination.beacon.kernel import Floats
from dspex_coordination.canonical import canonical_json
from dspex_coordination.space import Space
from dspex_coordination.variables import Demos, Variable

Values = Mapping[str, Any]

_LISTED = 2048  # values of an ordinal variable that are listed; with more steps it counts as continuous
_EXAMPLES = 512  # columns for examples; in larger pools several share one
_REMEMBERED = 4096  # combinations of values whose active variables are kept
_HALF = math.sqrt(0.5)


@dataclass(frozen=True, slots=True)
class Block:
    """The columns `start` to `stop` of a variable. `points` has a row for each of its values; None if continuous."""

    name: str
    start: int
    stop: int
    points: Floats | None = None
    options: tuple[Any, ...] | None = None

    @property
    def columns(self) -> slice:
        """The columns as a slice."""
        return slice(self.start, self.stop)

    def snap(self, rows: Floats) -> None:
        """Move the rows to the nearest values of an ordered variable."""
        if self.options is not None:
            return
        if self.points is None:
            np.clip(rows[:, self.start], 0.0, 1.0, out=rows[:, self.start])
            return
        units = self.points[:, 0]
        rows[:, self.start] = units[np.searchsorted((units[1:] + units[:-1]) / 2.0, rows[:, self.start])]


class Encoding:
    """The columns of the free variables of a space; see the table above.

    `groups` has for each column the index of the lengthscale it shares, `middle` where inactive variables are. `free`
    are the variables that nothing depends on and no rule mentions: each active one can be moved by itself. In a space
    that is a `box` these are all variables.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._conditional = any(variable.when is not None for variable in space.variables.values())
        self._blocks: list[Block] = []
        self._sets: dict[str, tuple[Block, dict[str, int]]] = {}
        self._places: dict[str, dict[str, int]] = {}
        groups: list[int] = []
        middle: list[float] = []
        for name in space.free:
            for begins, value in self._columns_of(name, space.variables[name], len(groups)):
                groups.append((groups[-1] if groups else -1) + begins)
                middle.append(value)
        self.groups, self.middle = np.array(groups, dtype=np.int64), np.array(middle, dtype=np.float64)
        self.count, self.width = len(set(groups)), len(groups)
        mentioned = tied(space)
        self.free = tuple(block for block in self._blocks if block.name not in mentioned)
        self.bound = tuple(name for name in space.free if name in mentioned or name in self._sets)
        self._deciding = tuple(name for name in space.free if name in mentioned)
        self._activity: dict[str, frozenset[str]] = {}
        self.box = not (self.bound or self._conditional)

    def _columns_of(self, name: str, variable: Variable[Any], start: int) -> list[tuple[int, float]]:
        """Note a variable; return for each column whether it begins a group, and its middle."""
        if isinstance(variable, Demos):
            pool = variable.pool or ()
            width = min(_EXAMPLES, len(pool))
            self._sets[name] = (Block(name, start, start + width + 2), {one: i % width for i, one in enumerate(pool)})
            return [(int(i == 0), 0.0) for i in range(width)] + [(1, 0.5), (1, 0.5)]
        known = variable.cardinality
        if variable.scale == "nominal":
            options = tuple(variable.grid(known or 1))
            self._places[name] = {canonical_json(option): place for place, option in enumerate(options)}
            points: Floats = np.eye(len(options), dtype=np.float64) * _HALF
            if len(options) <= 2:  # noqa: PLR2004 - one column tells two options apart
                points = np.array([[0.0], [1.0]])[: len(options)]
            self._blocks.append(Block(name, start, start + points.shape[1], points, options))
            return [(int(i == 0), float(mean)) for i, mean in enumerate(points.mean(axis=0))]
        listed = known is not None and known <= _LISTED
        steps = np.array([[variable.unit(value)] for value in variable.grid(known or 1)]) if listed else None
        self._blocks.append(Block(name, start, start + 1, steps))
        return [(1, 0.5)]

    def encode(self, candidates: Iterable[Values]) -> Floats:
        """Return a row for each mapping of names to values."""
        found = [self._row(values) for values in candidates]
        return np.array(found).reshape(len(found), self.width)

    def _row(self, values: Values) -> Floats:
        row, active = self.middle.copy(), self.active(values)
        for block in self._blocks:
            value = values[block.name]
            if block.name not in active:
                continue
            if block.options is None:
                row[block.start] = self._space.variables[block.name].unit(value)
            elif (
                block.points is not None and (place := self._places[block.name].get(canonical_json(value))) is not None
            ):
                row[block.columns] = block.points[place]  # an option that is never drawn stays in the middle
        for name, (block, places) in self._sets.items():
            if name in active:
                row[block.columns] = self._set(values[name], block, places, self._space.demos[name].max)
        return row

    @staticmethod
    def _set(value: Values, block: Block, places: Mapping[str, int], most: int) -> Floats:
        row = np.zeros(block.stop - block.start)
        ids: Sequence[str] = value.get("ids", ())
        for one in ids:
            if one in places:  # a default may name examples that this search does not have
                row[places[one]] = _HALF / math.sqrt(len(ids))
        row[-2] = float(value["select"] == "nearest")
        row[-1] = math.log1p(value.get("k", len(ids) or len(value.get("demos", ())))) / math.log1p(max(1, most))
        return row

    def active(self, values: Values) -> Collection[str]:
        """Return the names of the active variables."""
        space = self._space
        if not self._conditional:
            return space.variables
        key = canonical_json([values[name] for name in self._deciding])
        found = self._activity.get(key)
        if found is None:
            if len(self._activity) >= _REMEMBERED:
                self._activity.clear()
            found = self._activity[key] = space.active({name: values[name] for name in space.free})
        return found

    def movable(self, values: Values) -> tuple[Block, ...]:
        """Return the variables that can be moved by themselves, whatever the values of the other such ones."""
        active = self.active(values)
        return tuple(block for block in self.free if block.name in active)

    def decode(self, row: Floats, base: Values, moved: Iterable[Block]) -> dict[str, Any]:
        """Return the values of the free variables: the moved ones as in the row, the others as in `base`."""
        values = {name: base[name] for name in self._space.free}
        for block in moved:
            if block.options is None:
                values[block.name] = self._space.variables[block.name].at(float(min(1.0, max(0.0, row[block.start]))))
            elif block.points is not None:
                nearest = int(np.argmin(((block.points - row[block.columns]) ** 2).sum(axis=1)))
                values[block.name] = block.options[nearest]
        return values


def tied(space: Space) -> frozenset[str]:
    """Return the variables that decide whether others are active, or that a rule or constraint mentions."""
    found: set[str] = set()
    for constraint in space.constraints:
        found.update(space.names if constraint.names is None else constraint.names)
    for name, variable in space.variables.items():
        mentioned = [*variable.requires, *variable.conflicts, *(condition for condition, _ in variable.rules())]
        found.update(other for condition in mentioned for other in condition.names)
        found.update([name] if mentioned else [])
        found.update(() if variable.when is None else variable.when.names)
    waiting = [name for name in found if space.variables[name].scale == "computed"]
    while waiting:
        sources: Sequence[str] = getattr(space.variables[waiting.pop()], "dependencies", ())
        waiting += [name for name in sources if name not in found and space.variables[name].scale == "computed"]
        found.update(sources)
    return frozenset(found)
