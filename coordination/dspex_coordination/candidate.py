"""`Candidate`: one frozen assignment of values to variable names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dspex_coordination.canonical import canonical_json, digest
from dspex_coordination.errors import SpaceError


class Candidate:
    """A frozen assignment. Two candidates are equal if their canonical JSON is; `key` is a stable hash of it.

    `values` is a read-only mapping of JSON values; nested lists and dicts in it must not be changed. Raises
    SpaceError if a value is no JSON.
    """

    __slots__ = ("key", "values")

    key: str
    values: Mapping[str, Any]

    def __init__(self, values: Mapping[str, Any]) -> None:
        try:
            text = canonical_json(dict(values))
        except (TypeError, ValueError) as error:
            raise SpaceError(f"A candidate holds JSON values only: {error} in {dict(values)!r}.") from error
        # a copy through JSON: the caller's lists and dicts stay the caller's
        object.__setattr__(self, "values", MappingProxyType(json.loads(text)))
        object.__setattr__(self, "key", digest(dict(self.values)))

    def to_json(self) -> dict[str, Any]:
        """Return the values as a plain dict."""
        return dict(self.values)

    def __setattr__(self, attribute: str, value: Any) -> None:
        raise AttributeError(f"A candidate is frozen; {attribute!r} cannot be set.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Candidate) and canonical_json(self.to_json()) == canonical_json(other.to_json())

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Candidate({self.to_json()!r})"

    def __reduce__(self) -> tuple[type[Candidate], tuple[dict[str, Any]]]:
        """Pickle by values; a mapping proxy cannot be pickled."""
        return Candidate, (self.to_json(),)
