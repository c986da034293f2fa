"""`Number`: what `Float` and `Int` share - positions on an axis, honoured steps and distributions."""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Generic, TypeVar

from dspex_coordination.errors import VariableError
from dspex_coordination.variables.axis import Axis
from dspex_coordination.variables.base import Scale, Variable
from dspex_coordination.variables.checks import portion, spread
from dspex_coordination.variables.moves import checked_strength, neighbour, shifted

N = TypeVar("N", int, float)


class Number(Variable[N], Generic[N]):
    """A number between `low` and `high`. A subclass gives `_steps`, `_value_at`, `_from_axis`, the default and `_axis`.

    Values on steps stand for the half step on both sides of them, so that rounding a draw from the widened axis gives
    every step its share.
    """

    low: N
    high: N
    log: bool
    _axis: Axis
    _steps: int | None
    """The number of steps from `low` to `high`; None if every number between them is a value."""

    @property
    def _quantum(self) -> float:
        return 0.0 if self._steps is None else (self.high - self.low) / self._steps

    @property
    def _mode(self) -> float | None:
        return None

    def _draw_axis(self) -> Axis:
        """Return the axis of all draws; the constructor keeps it as `_axis` once all else is known."""
        half = self._quantum / 2
        return Axis(self.low - half, self.high + half, log=self.log, mode=self._mode)

    @abstractmethod
    def _value_at(self, position: int) -> N:
        """Return the value `position` steps above `low`."""

    @abstractmethod
    def _from_axis(self, point: float) -> N:
        """Return the value nearest to a point of the axis."""

    def _position_of(self, value: float) -> int:
        last = self._steps or 0
        return min(last, max(0, round((value - self.low) / self._quantum)))

    def _check_log(self, quantum: float) -> None:
        if self.log and self.low <= quantum / 2:
            below = "0" if self.low <= 0 else f"half of a step, {quantum / 2!r}"
            raise VariableError(f"{self.label}: log=True needs low above {below}, got low={self.low!r}.")

    @property
    def scale(self) -> Scale:
        """Ordinal with steps, else real."""
        return "real" if self._steps is None else "ordinal"

    def unit(self, value: N) -> float:
        """Return the part of all draws that lies below `value` (below the middle of its step)."""
        point, half = self.validate(value), self._quantum / 2
        axis = self._axis
        return (axis.portion(point - half) + axis.portion(point + half)) / 2 if half else axis.portion(point)

    def at(self, u: float) -> N:
        """Return the value at that part of all draws."""
        return self._from_axis(self._axis.quantile(portion(u, self.label)))

    def sample(self, rng: random.Random) -> N:
        """Draw from the distribution over the domain, its logarithm or its steps."""
        return self.at(rng.random())

    def mutate(self, value: N, rng: random.Random, strength: float) -> N:
        """Return a value a normally distributed step away, `strength` of the axis wide; at least the next one."""
        position = self.unit(value)
        moved = self.at(shifted(position, rng, checked_strength(strength, self.label)))
        if moved != value:
            return moved
        if self._steps is not None:
            return self._value_at(neighbour(self._position_of(value), self._steps + 1, rng))
        return self.high if value != self.high else self.low  # a step that rounding lost: the axis ends there

    def grid(self, n: int) -> list[N]:
        """Return at most `n` values in even parts of the distribution, both ends among them if n >= 2."""
        if self._steps is not None and (n > self._steps or not (self.log or self._mode is not None)):
            return [self._value_at(position) for position in spread(self._steps + 1, n)]
        last = max(n - 1, 1)
        axis = Axis(self.low, self.high, log=self.log, mode=self._mode)
        points = [axis.quantile(i / last) for i in spread(max(n, 2), n)]
        if self._steps is None:
            return list(dict.fromkeys(self._from_axis(point) for point in points))
        positions: list[int] = []
        for i, point in enumerate(points):  # crowded values move up, so that n stay distinct
            above = max(self._position_of(point), positions[-1] + 1 if positions else 0)
            positions.append(min(above, self._steps - (n - 1 - i)))
        return [self._value_at(position) for position in positions]

    @property
    def cardinality(self) -> int | None:
        """The number of steps plus one; None without steps."""
        return None if self._steps is None else self._steps + 1
