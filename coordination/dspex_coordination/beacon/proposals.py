"""Where in a space the acquisition is greatest."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped] # scipy comes without types

from dspex_coordination.beacon.acquisition import Acquisition
from dspex_coordination.beacon.encoding import Block, Encoding, Values
from dspex_coordination.beacon.kernel import Floats
from dspex_coordination.candidate import Candidate
from dspex_coordination.space import Space

_POOL = 500  # rows anywhere at which the acquisition is looked up first, and as many near the leaders
_BASES = 12  # candidates drawn anywhere, and as many changed leaders, where not all variables can move by themselves
_FAR_STARTS = 2
_OTHERS = 40  # candidates to fall back on
_ITERATIONS = 20  # of one climb along the axes
_TURNS = 3  # of climbs along the axes and changes of listed values
_TRIED = 32  # values of one variable that are looked up at most
_STEPS = (1e-3, 0.3)  # of moves near a leader, as parts of an axis
_CHANCE = 0.3  # that a move changes a variable, at least


@dataclass(frozen=True, slots=True)
class _Spot:
    """A row with the values it was made of and the variables that may differ from them without breaking a rule."""

    row: Floats
    values: Values
    moved: tuple[Block, ...]


class Proposals:
    """Looks for the candidates of a space that promise most: at many places, then uphill from the best of them."""

    def __init__(self, space: Space, encoding: Encoding, acquisition: Acquisition, rng: random.Random) -> None:
        self._space, self._encoding, self._acquisition, self._rng = space, encoding, acquisition, rng
        self._numbers = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))

    def ranked(self, leaders: Sequence[Candidate]) -> Iterator[Candidate]:
        """Yield feasible candidates, the most promising first; `leaders` are the best known ones, the best first.

        Those found uphill come first, then others that looked promising, for when all those are known.
        """
        near = [self._spot(leader.values) for leader in leaders]
        around, anywhere = self._around(near), self._anywhere(near[0])
        climbed = [self._climbed(spot) for spot in (*self._best(around, 1), *self._best(anywhere, _FAR_STARTS))]
        if self._encoding.bound:
            refined = self._best([*climbed, *self._changed(climbed)], 1)
            climbed += [self._climbed(spot) for spot in refined]
        yield from self._decoded(self._best(climbed, len(climbed)))
        yield from self._decoded(self._best([*around, *anywhere], _OTHERS))

    def _decoded(self, spots: Iterable[_Spot]) -> Iterator[Candidate]:
        for spot in spots:
            candidate = self._space.repair(self._encoding.decode(spot.row, spot.values, spot.moved), self._rng)
            if candidate is not None:
                yield candidate

    def _spot(self, values: Values) -> _Spot:
        return _Spot(self._encoding.encode([values])[0], values, self._encoding.movable(values))

    def _best(self, spots: Sequence[_Spot], count: int) -> list[_Spot]:
        worth = self._acquisition.values(np.array([spot.row for spot in spots]))
        return [spots[int(index)] for index in np.argsort(-worth, kind="stable")[:count]]

    def _anywhere(self, one: _Spot) -> list[_Spot]:
        """Return spots all over the space."""
        if self._encoding.box:
            return self._shaken(one, _POOL, None)
        drawn = [self._spot(self._space.sample(self._rng).values) for _ in range(_BASES)]
        return [*drawn, *(spot for base in drawn for spot in self._shaken(base, _POOL // _BASES, None))]

    def _around(self, leaders: Sequence[_Spot]) -> list[_Spot]:
        """Return spots near the leaders."""
        bases = list(leaders)
        if self._encoding.bound:
            bases += self._changed(leaders)
        moved = [spot for base in bases for spot in self._shaken(base, _POOL // len(bases), _STEPS)]
        return [*bases[len(leaders) :], *moved]

    def _changed(self, spots: Sequence[_Spot]) -> list[_Spot]:
        """Return spots with other values of a variable that cannot be moved by itself."""
        found: list[_Spot] = []
        for number in range(_BASES):
            spot = spots[number % len(spots)]
            values = self._encoding.decode(spot.row, spot.values, spot.moved)
            name = self._rng.choice(self._encoding.bound)
            values[name] = self._space.variables[name].mutate(values[name], self._rng, self._rng.uniform(0.02, 0.5))
            candidate = self._space.repair(values, self._rng)
            if candidate is not None:
                found.append(self._spot(candidate.values))
        return found

    def _shaken(self, base: _Spot, count: int, steps: tuple[float, float] | None) -> list[_Spot]:
        """Return spots with other values of what can be moved: all of them drawn anew, or some moved by a step."""
        rows, numbers = np.repeat(base.row[None], count, axis=0), self._numbers
        low, high = (1.0, 1.0) if steps is None else steps
        size = np.exp(numbers.uniform(math.log(low), math.log(high), size=count))
        chance = 1.0 if steps is None else max(_CHANCE, 1.5 / max(len(base.moved), 1))
        for block in base.moved:
            chosen = numbers.random(count) < chance
            if block.options is not None and block.points is not None:
                drawn = block.points[numbers.integers(len(block.points), size=count)]
                rows[chosen, block.columns] = drawn[chosen]
                continue
            column = rows[:, block.start]
            place = numbers.random(count) if steps is None else column + size * numbers.standard_normal(count)
            rows[:, block.start] = np.where(chosen, place, column)
            block.snap(rows)
        return [_Spot(row, base.values, base.moved) for row in rows]

    def _climbed(self, spot: _Spot) -> _Spot:
        """Go uphill along the continuous axes and value by value of the listed variables, by turns."""
        row = spot.row
        axes = np.array([block.start for block in spot.moved if block.points is None], dtype=np.int64)
        listed = [block for block in spot.moved if block.points is not None and len(block.points) > 1]
        for turn in range(_TURNS):
            if len(axes):
                row = self._uphill(row, axes, _ITERATIONS if turn == 0 else _ITERATIONS // _TURNS)
            if not listed:
                break
            before, row = row, self._swapped(row, listed)
            if row is before:
                break
        return _Spot(row, spot.values, spot.moved)

    def _swapped(self, row: Floats, listed: Sequence[Block]) -> Floats:
        """Return the row with the changes of listed values that together promise most; itself if none is better."""
        tried = [self._replaced(row, block) for block in listed]
        worth, *parts = np.split(
            self._acquisition.values(np.concatenate([row[None], *tried])), np.cumsum([1, *map(len, tried)])[:-1]
        )
        ends = [int(np.argmax(part)) for part in parts]
        order = np.argsort([-part[end] for part, end in zip(parts, ends, strict=True)], kind="stable")
        changed, together = row.copy(), list[Floats]()
        for index in order.tolist():
            if parts[index][ends[index]] <= worth[0]:
                break
            columns = listed[index].columns
            changed[columns] = tried[index][ends[index], columns]
            together.append(changed.copy())
        return together[int(np.argmax(self._acquisition.values(np.array(together))))] if together else row

    def _replaced(self, row: Floats, block: Block) -> Floats:
        """Return the row with each value of a listed variable, the nearest ones if there are many."""
        points = block.points if block.points is not None else np.zeros((0, 1))
        if len(points) > _TRIED:
            far = np.abs(points - row[block.columns]).sum(axis=1)
            points = points[np.argsort(far, kind="stable")[:_TRIED]]
        rows = np.repeat(row[None], len(points), axis=0)
        rows[:, block.columns] = points
        return rows

    def _uphill(self, row: Floats, axes: Any, iterations: int) -> Floats:
        moved = row.copy()

        def descent(place: Floats) -> tuple[float, Floats]:
            moved[axes] = place
            value, slope = self._acquisition.slope(moved)
            return -value, -slope[axes]

        limits = [(0.0, 1.0)] * len(axes)
        options = {"maxiter": iterations, "maxfun": 2 * iterations}
        found: Any = minimize(descent, row[axes], jac=True, method="L-BFGS-B", bounds=limits, options=options)
        result = row.copy()
        result[axes] = np.clip(found.x, 0.0, 1.0)
        return result
