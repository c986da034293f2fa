"""`Choice`: one of a list of JSON values."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import VariableError
from dspex_coordination.variables.base import Variable
from dspex_coordination.variables.checks import spread

T = TypeVar("T")


class Choice(Variable[T]):
    """One of `options`, which are JSON values, all different (1, 1.0 and True differ).

    The default is the first option; to make None the default, list it first.
    """

    kind: ClassVar[str] = "choice"

    def __init__(self, options: Sequence[T], *, default: T | None = None) -> None:
        if isinstance(options, str | bytes) or not isinstance(options, Sequence):
            raise VariableError(f"Choice: options must be a list of values, got {options!r}.")
        if not options:
            raise VariableError("Choice: options is empty; give at least one value.")
        self.options: tuple[T, ...] = tuple(copy.deepcopy(option) for option in options)
        self._index = self._indexed()
        if default is None:
            self.default = self.options[0]
        else:
            self.default = self._checked_default(default)

    def _indexed(self) -> dict[str, int]:
        index: dict[str, int] = {}
        for position, option in enumerate(self.options):
            try:
                key = canonical_json(option)
            except (TypeError, ValueError) as error:
                raise VariableError(
                    f"Choice: options[{position}] {option!r} is no JSON value ({error}); "
                    "use text, numbers, booleans, None, or lists and dicts of them."
                ) from error
            if key in index:
                raise VariableError(f"Choice: options[{position}] {option!r} repeats options[{index[key]}].")
            index[key] = position
        return index

    def _checked_default(self, default: T) -> T:
        try:
            return self.validate(default)
        except VariableError as error:
            raise VariableError(f"Choice: default is outside the domain: {error}") from error

    def validate(self, value: Any) -> T:
        """Return the option equal to `value`."""
        try:
            position = self._index.get(canonical_json(value))
        except (TypeError, ValueError):
            position = None
        if position is None:
            raise self._reject(value, "one of " + ", ".join(repr(option) for option in self.options))
        return self.options[position]

    def sample(self, rng: random.Random) -> T:
        """Draw every option with equal chance."""
        return self.options[rng.randrange(len(self.options))]

    def grid(self, n: int) -> list[T]:
        """Return at most `n` options, in their order."""
        return [self.options[position] for position in spread(len(self.options), n)]

    def fields(self) -> dict[str, Any]:
        """Return options and default."""
        return {"options": list(self.options), "default": self.default}

    @property
    def cardinality(self) -> int:
        """The number of options."""
        return len(self.options)
