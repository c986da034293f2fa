"""`Dialect`: how JSON Schema is spelt for one kind of receiver.

| member | called when, by whom |
|---|---|
| `convert(schema)` | by `json_schema`, with pydantic's schema (titles, `$defs` and all); must leave it unchanged |
| `problems(schema)` | by `json_schema`, with what `convert` returned; what the receiver would refuse, with paths |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from dspex_ray.problems import Problem
from dspex_ray.schema.json_tree import Node


class Dialect(ABC):
    """See the module's table."""

    name: ClassVar[str]

    @abstractmethod
    def convert(self, schema: Node) -> Node:
        """Return the schema in this dialect."""

    def problems(self, schema: Node) -> list[Problem]:
        """Return what the receiver would refuse of a converted schema."""
        del schema
        return []
