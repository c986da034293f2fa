"""`FieldsHolding`: which fields of a schema are or hold a value of one type, however deep."""

from __future__ import annotations

from typing import Any, get_args
from weakref import WeakKeyDictionary

from pydantic import BaseModel


class FieldsHolding:
    """Finds the fields whose annotation is `kind`, or holds it in a container, a union or an inner model."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._known: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()

    def __call__(self, schema: type[BaseModel]) -> frozenset[str]:
        """Return the names of the fields; remembered once the schema is complete."""
        if (found := self._known.get(schema)) is None:
            found = frozenset(n for n, info in schema.model_fields.items() if self._holds(info.annotation, set()))
            if schema.__pydantic_complete__:
                self._known[schema] = found
        return found

    def _holds(self, annotation: Any, seen: set[Any]) -> bool:
        if annotation is self._kind:
            return True
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation in seen:
                return False
            seen.add(annotation)
            return any(self._holds(info.annotation, seen) for info in annotation.model_fields.values())
        return any(self._holds(part, seen) for part in get_args(annotation))
