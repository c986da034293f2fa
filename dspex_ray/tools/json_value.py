"""Any value as JSON and as text of a bounded length."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

_DEEPEST = 100
_MOST_VALUES = 100_000
_MOST_CHARS = 20_000_000


def as_json(value: Any) -> Any:
    """Return the value as JSON: sets in a sorted order, NaN and infinity as text, what has no JSON form as its repr.

    Raises ValueError for what nests deeper than 100 levels (or in itself), holds over 100,000 values or, within a list
    or mapping, over 20 million characters of text.
    """
    return _Walk().walked(value, 0)


def as_text(value: Any, most: int) -> str:
    """Return text as it is and all else as JSON, cut after `most` characters; a cut is said. Raises as `as_json`."""
    text = value if isinstance(value, str) else json.dumps(as_json(value), ensure_ascii=False)
    return cut(text, most)


def cut(text: str, most: int) -> str:
    """Return the text, or its first `most` characters and a note on how many there were."""
    return text if len(text) <= most else f"{text[:most]}\n... (cut: the first {most:,} of {len(text):,} characters)"


class _Walk:
    """One walk over a value; it counts, since few objects that refer to each other can spell a text without end."""

    def __init__(self) -> None:
        self.values = self.chars = 0

    def walked(self, value: Any, depth: int) -> Any:
        self.values += 1
        if depth > _DEEPEST or self.values > _MOST_VALUES:
            raise ValueError(f"the value nests deeper than {_DEEPEST} levels or holds over {_MOST_VALUES:,} values")
        if isinstance(value, str | bytes | bytearray) and depth:
            self._count(len(value))
        match value:
            case None | bool() | int() | str():
                return value
            case float():
                return value if math.isfinite(value) else str(value)
            case bytes() | bytearray():
                return repr(bytes(value))
            case BaseModel():
                return self.walked(value.model_dump(mode="json"), depth)
            case Mapping():
                return {self._key(key): self.walked(one, depth + 1) for key, one in value.items()}
            case list() | tuple():
                return [self.walked(one, depth + 1) for one in value]
            case set() | frozenset():
                return sorted((self.walked(one, depth + 1) for one in value), key=json.dumps)
            case _:
                return to_jsonable_python(value, fallback=repr, inf_nan_mode="strings")

    def _key(self, key: Any) -> str:
        text = str(key)
        self._count(len(text))
        return text

    def _count(self, chars: int) -> None:
        self.chars += chars
        if self.chars > _MOST_CHARS:
            raise ValueError(f"the value holds over {_MOST_CHARS:,} characters")
