"""`OneOf`: what `Choice`, `Module` and `Text` share - one of a list of options, weighted and perhaps ordered."""

from __future__ import annotations

import bisect
import copy
import itertools
import math
import random
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import VariableError
from dspex_coordination.variables.base import Scale, Variable
from dspex_coordination.variables.checks import portion, real, spread
from dspex_coordination.variables.moves import checked_strength, neighbour, shifted

T = TypeVar("T")


class OneOf(Variable[T], Generic[T]):
    """One of `options`, JSON values that all differ. A subclass calls `_take_options` in its constructor.

    An option of weight 0 is a valid value, but no search draws it: it is in no grid and does not count.
    """

    options: tuple[T, ...]
    weights: tuple[float, ...] | None = None
    ordered: bool = False

    def _take_options(self, options: Sequence[T], weights: Sequence[float] | None = None) -> None:
        self.options = tuple(copy.deepcopy(option) for option in options)
        self._index = self._indexed()
        if weights is not None:
            self.weights = self._checked_weights(weights)
        shares = self.weights or (1.0,) * len(self.options)
        total = math.fsum(shares)
        self._drawn = tuple(position for position, share in enumerate(shares) if share > 0)
        self._edges = (0.0, *(edge / total for edge in itertools.accumulate(shares)))

    def _indexed(self) -> dict[str, int]:
        index: dict[str, int] = {}
        for position, option in enumerate(self.options):
            try:
                key = canonical_json(option)
            except (TypeError, ValueError) as error:
                raise VariableError(
                    f"{self.label}: options[{position}] {option!r} is no JSON value ({error}); "
                    "use text, numbers, booleans, None, or lists and dicts of them."
                ) from error
            if key in index:
                raise VariableError(f"{self.label}: options[{position}] {option!r} repeats options[{index[key]}].")
            index[key] = position
        return index

    def _checked_weights(self, weights: Any) -> tuple[float, ...]:
        if isinstance(weights, str | bytes) or not isinstance(weights, Sequence):
            raise VariableError(f"{self.label}: weights must be a list of numbers, got {weights!r}.")
        if len(weights) != len(self.options):
            raise VariableError(f"{self.label}: {len(self.options)} options need as many weights, got {len(weights)}.")
        found = tuple(real(weight, f"{self.label}: weights[{i}]") for i, weight in enumerate(weights))
        if min(found) < 0 or not 0 < math.fsum(found) < math.inf:
            raise VariableError(f"{self.label}: weights must be at least 0 with a positive sum, got {list(found)!r}.")
        return found

    def _position(self, value: Any) -> int:
        try:
            position = self._index.get(canonical_json(value))
        except (TypeError, ValueError):
            position = None
        if position is None:
            raise self._reject(value, "one of " + ", ".join(repr(option) for option in self.options))
        return position

    def validate(self, value: Any) -> T:
        """Return the option equal to `value`."""
        return self.options[self._position(value)]

    @property
    def scale(self) -> Scale:
        """Ordinal if the options are ordered, else nominal."""
        return "ordinal" if self.ordered else "nominal"

    def unit(self, value: T) -> float:
        """Return the middle of the option's share of all draws."""
        position = self._position(value)
        return (self._edges[position] + self._edges[position + 1]) / 2

    def at(self, u: float) -> T:
        """Return the option whose share of all draws that is."""
        position = bisect.bisect_right(self._edges, portion(u, self.label)) - 1
        return self.options[min(position, self._drawn[-1])]

    def sample(self, rng: random.Random) -> T:
        """Draw every option with its weight; with equal chance without weights."""
        return self.at(rng.random())

    def mutate(self, value: T, rng: random.Random, strength: float) -> T:
        """Return another option: drawn by weight, or with `ordered` a step away, the next one at least."""
        checked_strength(strength, self.label)
        position = self._position(value)
        others = [other for other in self._drawn if other != position]
        if not others:
            return value
        if not self.ordered:
            shares = [self._edges[other + 1] - self._edges[other] for other in others]
            return self.options[rng.choices(others, shares)[0]]
        moved = self._position(self.at(shifted(self.unit(value), rng, strength)))
        if moved == position:
            line = sorted({*self._drawn, position})
            moved = line[neighbour(line.index(position), len(line), rng)]
        return self.options[moved]

    def grid(self, n: int) -> list[T]:
        """Return at most `n` of the options that are drawn, in their order."""
        return [self.options[self._drawn[position]] for position in spread(len(self._drawn), n)]

    @property
    def cardinality(self) -> int | None:
        """The number of options that are drawn."""
        return len(self._drawn)

    def _settled_default(self, default: Any) -> T:
        """Return `default`, checked; without one the first option that is drawn."""
        if default is None:
            return self.options[self._drawn[0]]
        found = self._checked_default(default)
        if self._position(found) not in self._drawn:
            raise VariableError(
                f"{self.label}: the default {default!r} has weight 0, but every search begins with the default; "
                "give it a positive weight or another default."
            )
        return found
