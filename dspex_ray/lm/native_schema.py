"""The JSON Schema of a reply as a provider enforces it, worked out once for each schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dspex_ray.schema import DIALECTS
from dspex_ray.schema.json_tree import Node

_KEPT = 256


def native_schema(schema: Mapping[str, Any], dialect: str) -> tuple[Node, bool]:
    """Return the schema in the named dialect and True, or as it is and False where the dialect cannot say it.

    The second value is what goes into `strict`. Treat the schema as read-only: it is shared. A schema object that was
    given before is recognised by its identity, so it must not be changed between calls.
    """
    known = _KNOWN.get((id(schema), dialect))
    if known is not None and known[0] is schema:
        return known[1]
    found = _converted(json.dumps(schema), dialect)
    if len(_KNOWN) >= _KEPT:
        _KNOWN.clear()
    _KNOWN[id(schema), dialect] = (schema, found)  # the reference keeps the identity from being used again
    return found


_KNOWN: dict[tuple[int, str], tuple[Mapping[str, Any], tuple[Node, bool]]] = {}


@lru_cache(maxsize=_KEPT)
def _converted(text: str, dialect: str) -> tuple[Node, bool]:
    schema: Node = json.loads(text)
    rules = DIALECTS[dialect]
    try:
        made = rules.convert(schema)
    except KeyError:  # a reference to nothing, in a schema written by hand
        return schema, False
    return (schema, False) if rules.problems(made) else (made, True)
