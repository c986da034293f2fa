"""`Bool`: True or False."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from dspex_coordination.variables.base import Variable
from dspex_coordination.variables.checks import flag, spread


class Bool(Variable[bool]):
    """True or False; 0 and 1 are no values."""

    kind: ClassVar[str] = "bool"

    def __init__(self, *, default: bool = False) -> None:
        self.default = flag(default, "Bool: default")

    def validate(self, value: Any) -> bool:
        """Return `value` if it is True or False."""
        if not isinstance(value, bool):
            raise self._reject(value, "True or False")
        return value

    def sample(self, rng: random.Random) -> bool:
        """Toss a coin."""
        return rng.random() < 0.5  # noqa: PLR2004 - a fair coin

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
