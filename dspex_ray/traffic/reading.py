"""`Reading`: takes JSON values apart and remembers everything that is wrong with them, by path."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Reading:
    """Each method returns a usable value in any case; `wrong` says what was not as it should be, and where."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def fields(self, given: Any, path: str, known: Sequence[str], required: Sequence[str] = ()) -> Mapping[str, Any]:
        """Return an object's fields; unknown ones are named with the nearest known one, missing ones too."""
        where = path or "the document"
        if not isinstance(given, Mapping):
            self.wrong.append(f"{where} must be an object, got {_kind(given)}")
            return {}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                self.wrong.append(f"{where} has an unknown key {name!r}: {hint}")
        self.wrong += [f"{where} needs {name!r}" for name in required if name not in given]
        return {name: value for name, value in given.items() if name in known}

    def items(
        self, given: Mapping[str, Any], name: str, known: Sequence[str], required: Sequence[str]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Give path and fields of each object of a list that may be absent."""
        many = given.get(name, [])
        if not isinstance(many, list):
            self.wrong.append(f"{name} must be a list, got {_kind(many)}")
            return
        for position, one in enumerate(many):
            path = f"{name}[{position}]"
            yield path, self.fields(one, path, known, required)

    def text(self, value: Any, path: str) -> str:
        """Return a text."""
        if isinstance(value, str):
            return value
        if value is not None:  # a missing one is named already
            self.wrong.append(f"{path} must be a text, got {_kind(value)}")
        return ""

    def number(self, value: Any, path: str) -> float:
        """Return a number."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if value is not None:
            self.wrong.append(f"{path} must be a number, got {_kind(value)}")
        return 0.0

    def one_of(self, given: Mapping[str, Any], name: str, choices: Sequence[str], path: str) -> str:
        """Return one of the choices, by default the first."""
        value = given.get(name, choices[0])
        if value in choices:
            return str(value)
        self.wrong.append(f"{path}.{name} is one of {', '.join(choices)}, got {value!r}")
        return choices[0]


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
