"""`generic`: JSON Schema 2020-12, as pydantic writes it."""

from __future__ import annotations

from typing import ClassVar

from dspex_ray.schema.dialects.base import Dialect
from dspex_ray.schema.json_tree import Node


class Generic(Dialect):
    """Changes nothing."""

    name: ClassVar[str] = "generic"

    def convert(self, schema: Node) -> Node:
        """Return the schema."""
        return schema
