"""`Bool`: True or False."""

from __future__ import annotations

import random
from typing import Any, ClassVar, Unpack

from dspex_coordination.variables.base import Scale, Variable
from dspex_coordination.variables.checks import flag, portion, spread
from dspex_coordination.variables.links import Links
from dspex_coordination.variables.moves import checked_strength

_HALF = 0.5  # a fair coin


class Bool(Variable[bool]):
    """True or False; 0 and 1 are no values."""

    kind: ClassVar[str] = "bool"

    def __init__(self, *, default: bool = False, **links: Unpack[Links]) -> None:
        super().__init__(**links)
        self.default = flag(default, "Bool: default")

    def validate(self, value: Any) -> bool:
        """Return `value` if it is True or False."""
        if not isinstance(value, bool):
            raise self._reject(value, "True or False")
        return value

    @property
    def scale(self) -> Scale:
        """Nominal."""
        return "nominal"

    def unit(self, value: bool) -> float:  # noqa: FBT001 - the value of this variable
        """Return the middle of the value's half: False is the lower one."""
        return _HALF * (1.5 if self.validate(value) else 0.5)

    def at(self, u: float) -> bool:
        """Return False in the lower half."""
        return portion(u, self.label) >= _HALF

    def sample(self, rng: random.Random) -> bool:
        """Toss a coin."""
        return self.at(rng.random())

    def mutate(self, value: bool, rng: random.Random, strength: float) -> bool:  # noqa: ARG002, FBT001 - no choice left
        """Return the other value."""
        checked_strength(strength, self.label)
        return not self.validate(value)

    def grid(self, n: int) -> list[bool]:
        """Return the default, then the other value."""
        return [self.default, not self.default][: len(spread(2, n))]

    def fields(self) -> dict[str, Any]:
        """Return the default."""
        return {"default": self.default}

    @property
    def cardinality(self) -> int:
        """Two."""
        return 2
