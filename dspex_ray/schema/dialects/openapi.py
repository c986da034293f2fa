"""`openapi`: the components of an OpenAPI 3.1 document, whose dialect of JSON Schema is 2020-12 itself."""

from __future__ import annotations

from typing import ClassVar

from dspex_ray.schema.dialects.base import Dialect
from dspex_ray.schema.json_tree import Node, components


class OpenAPI(Dialect):
    """Moves the schema under its title, and its definitions beside it, into `components`."""

    name: ClassVar[str] = "openapi"

    def convert(self, schema: Node) -> Node:
        """Return `{"$ref": ..., "components": {"schemas": ...}}`: a reference to the schema, and what it needs."""
        name = str(schema.get("title") or schema.get("$ref", "Schema").rpartition("/")[2])
        return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": components(name, schema)}}
