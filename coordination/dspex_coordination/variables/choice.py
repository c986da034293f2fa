"""`Choice`: one of a list of JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar, Unpack

from dspex_coordination.errors import VariableError
from dspex_coordination.variables.checks import flag
from dspex_coordination.variables.links import Links
from dspex_coordination.variables.one_of import OneOf

T = TypeVar("T")


class Choice(OneOf[T]):
    """One of `options`, which are JSON values, all different (1, 1.0 and True differ).

    The default is the first option with a positive weight; to make None the default, list it first. `weights`, one an
    option, say how often each is drawn; one of weight 0 is valid but never drawn. `ordered` says that neighbours are
    alike, as in ["low", "medium", "high"].
    """

    kind: ClassVar[str] = "choice"

    def __init__(
        self,
        options: Sequence[T],
        *,
        default: T | None = None,
        weights: Sequence[float] | None = None,
        ordered: bool = False,
        **links: Unpack[Links],
    ) -> None:
        super().__init__(**links)
        if isinstance(options, str | bytes) or not isinstance(options, Sequence):
            raise VariableError(f"Choice: options must be a list of values, got {options!r}.")
        if not options:
            raise VariableError("Choice: options is empty; give at least one value.")
        self.ordered = flag(ordered, "Choice: ordered")
        self._take_options(options, weights)
        self.default = self._settled_default(default)

    def fields(self) -> dict[str, Any]:
        """Return options and default, and weights and ordered where they are set."""
        found = {"options": list(self.options), "default": self.default}
        weights = {} if self.weights is None else {"weights": list(self.weights)}
        return {**found, **weights, **({"ordered": True} if self.ordered else {})}
