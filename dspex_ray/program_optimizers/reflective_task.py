"""One attempt at a better candidate: look at the parent, have a text written, test the child on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["reflect", "vary"]
Duty = Literal["race", "test", "write", "look"]
"""What a trial is for; what is nearer to its end goes first."""

DUTIES: tuple[Duty, ...] = ("race", "test", "write", "look")


@dataclass(slots=True)
class Task:
    """An attempt under way: everything that the next step needs, as JSON.

    `parent` is the number of an individual, `rows` the minibatch of train rows, `turn` the predictor that is told
    something new (or all of them, with `every_call`), `errands` what is still to be written, by the name of the
    variable, `child` the values to test.
    """

    number: int
    kind: Kind
    parent: int
    rows: list[int]
    turn: int = 0
    every_call: bool = False
    crossed: bool = False
    chunks: int = 1
    errands: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    child: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Task:
        """Rebuild from `to_json`."""
        return Task(**data)
