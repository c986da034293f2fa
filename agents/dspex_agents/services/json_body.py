"""Messages as JSON text, for those that are kept in a database: only where nothing of them is lost by it."""

from __future__ import annotations

import json
import math
from typing import Any

from dspex_agents.errors import SpecError

_MOST_DEPTH = 100
_PREVIEW = 200


def json_problem(body: object) -> str | None:
    """Say what in a message is not JSON and where, or return None when it comes back from JSON as it was.

    That is so for dicts with keys of text, lists, texts, finite numbers, booleans and None, and nothing derived
    from them: a tuple would come back as a list.
    """
    return _problem(body, "message", _MOST_DEPTH)


def to_json(body: object) -> str:
    """Return the message as JSON text. Raises SpecError that says what in it is not JSON."""
    if (problem := json_problem(body)) is not None:
        raise SpecError(f"{problem}. Only JSON is kept in a database (never pickles).")
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> Any:
    """Return the message of `to_json`."""
    return json.loads(text)


def preview(body: object) -> str:
    """Return the start of the message's text, for people."""
    try:
        text = " ".join(repr(body).split())
    except Exception as error:  # noqa: BLE001 - a stranger's `__repr__` may raise anything; its type is told instead
        text = f"{type(body).__name__} (its repr raised {type(error).__name__})"
    return text if len(text) <= _PREVIEW else f"{text[: _PREVIEW - 3]}..."


def _problem(value: object, where: str, depth: int) -> str | None:
    if depth == 0:
        return f"{where.partition('[')[0]} is nested deeper than {_MOST_DEPTH}"
    if value is None or type(value) in (str, bool, int):
        return None
    if type(value) is float:
        return None if math.isfinite(value) else f"{where} is {value}, which is not JSON"
    if isinstance(value, list) and type(value) is list:
        parts: list[tuple[str, object]] = [(f"{where}[{n}]", part) for n, part in enumerate(value)]
    elif isinstance(value, dict) and type(value) is dict:
        if odd := [key for key in value if type(key) is not str]:
            return f"{where} has the key {odd[0]!r}, which is not text"
        parts = [(f"{where}[{key!r}]", part) for key, part in value.items()]
    else:
        return f"{where} is a {type(value).__name__}, which is not JSON"
    return next((found for name, part in parts if (found := _problem(part, name, depth - 1)) is not None), None)
