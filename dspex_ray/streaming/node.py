"""`Node`: one value of a reply that is still being written."""

from __future__ import annotations

import enum
from typing import Any, Literal

Kind = Literal["object", "array", "string", "scalar"]


class Unknown(enum.Enum):
    """The one value that says that nothing is known yet, since None is a value."""

    UNKNOWN = enum.auto()


UNKNOWN = Unknown.UNKNOWN


class Node:
    """An object's members, an array's items, a string's parts or a scalar's value; `done` once it cannot change.

    `kept` and `items` belong to whoever types it: what a done node was found to be, and the items of a growing array
    that are typed already, so that nothing is looked at twice.
    """

    __slots__ = ("done", "items", "kept", "kind", "members", "value")

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self.done = False
        self.members: dict[str, Node] = {}
        self.value: Any = UNKNOWN if kind == "scalar" else []
        self.kept: Any = None
        self.items: list[Any] = []

    @property
    def text(self) -> str:
        """A string so far."""
        if len(self.value) > 1:
            self.value[:] = ["".join(self.value)]  # joined once for all pieces that look at it
        return self.value[0] if self.value else ""

    def plain(self) -> Any:
        """Return the value so far as JSON; UNKNOWN for a scalar that is not whole."""
        if self.kind == "scalar":
            return self.value
        if self.kind == "string":
            return self.text
        if self.kind == "array":
            return [found for item in self.value if (found := item.plain()) is not UNKNOWN]
        known = {name: member.plain() for name, member in self.members.items()}
        return {name: found for name, found in known.items() if found is not UNKNOWN}
