"""JSON as models write it: single quotes, trailing commas, Python's constants, bare keys; never a guess at a value."""

from __future__ import annotations

import json
import re
from typing import Any, Never

_SPACE = re.compile(r"\s*")
_KEY = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,300})(?:\.\d{1,300})?(?:[eE][+-]?\d{1,4})?(?![\w.])")
_CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_CONSTANT = re.compile(r"(?:true|false|null|True|False|None)(?!\w)")
_AFTER_STRING = re.compile(r"\s*(?:[,:}\]]|\Z)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_PLAIN = re.compile(r"[^\\'\"]*")
_UNICODE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_DEEPEST = 64


class LooseJSONError(ValueError):
    """Text that is no JSON, however kindly read. `read_to` is how far into the text the reader got."""

    read_to: int = 0


class Conflict(LooseJSONError):  # noqa: N818 - it is raised as an error and reads as the reason
    """An object that gives one key two different values."""


def read_object(text: str, start: int) -> tuple[dict[str, Any], int]:
    """Return the object that begins with the brace at `start` and the position after it.

    Strict JSON is tried first. Raises Conflict for two values of one key, LooseJSONError for anything unreadable.
    """
    try:
        value, end = _STRICT.raw_decode(text, start)
    except Conflict:
        raise
    except (ValueError, RecursionError):
        value, end = _read_kindly(text, start)
    if not isinstance(value, dict):
        raise LooseJSONError(f"no object at {start}")
    return value, end


def read_text(text: str) -> Any:
    """Return the JSON value that is the whole text, strictly. Raises LooseJSONError."""
    try:
        return _STRICT.decode(text)
    except LooseJSONError:
        raise
    except (ValueError, RecursionError) as error:
        raise LooseJSONError(str(error)) from error


def read_loosely(text: str) -> Any:
    """Return the value that is the whole text, strictly if that can be, else kindly. Raises as `read_object` does."""
    try:
        return read_text(text)
    except Conflict:
        raise
    except LooseJSONError:
        value, end = _read_kindly(text, 0)
        if text[end:].strip():
            raise LooseJSONError(f"more after the value, at {end}") from None
        return value


def _read_kindly(text: str, start: int) -> tuple[Any, int]:
    reader = _Reader(text)
    try:
        return reader.value(start, 0)
    except LooseJSONError as error:
        error.read_to = reader.furthest
        raise


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made and (type(made[key]) is not type(value) or made[key] != value):
            raise Conflict(f"the key {key!r} is given twice, with {made[key]!r} and {value!r}")
        made[key] = value
    return made


def _no_constant(name: str) -> Never:
    raise LooseJSONError(f"{name} is no JSON number")


_STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_constant, strict=False)


class _Reader:
    """A recursive-descent reader; each method takes a position and returns the value and the position after it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.furthest = 0

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > _DEEPEST:
            raise LooseJSONError("nested too deeply")
        at = self.skip(at)
        opening = self.text[at : at + 1]
        if opening == "{":
            return self.object(at + 1, depth)
        if opening == "[":
            return self.array(at + 1, depth)
        if opening in ("'", '"'):
            return self.string(at, opening)
        if found := _CONSTANT.match(self.text, at):
            return _CONSTANTS[found.group()], found.end()
        if found := _NUMBER.match(self.text, at):
            return json.loads(found.group()), found.end()
        raise LooseJSONError(f"no value at {at}")

    def object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        pairs: list[tuple[str, Any]] = []
        while self.text[(at := self.skip(at)) : at + 1] != "}":
            key, at = self.key(at)
            at = self.expect(at, ":")
            value, at = self.value(at, depth + 1)
            pairs.append((key, value))
            at = self.separator(at, "}")
        return _pairs(pairs), at + 1

    def array(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while self.text[(at := self.skip(at)) : at + 1] != "]":
            value, at = self.value(at, depth + 1)
            items.append(value)
            at = self.separator(at, "]")
        return items, at + 1

    def key(self, at: int) -> tuple[str, int]:
        if self.text[at : at + 1] in ("'", '"'):
            return self.string(at, self.text[at])
        found = _KEY.match(self.text, at)
        if not found:
            raise LooseJSONError(f"no key at {at}")
        return found.group(), found.end()

    def string(self, at: int, quote: str) -> tuple[str, int]:
        pieces: list[str] = []
        at += 1
        while at < len(self.text):
            char = self.text[at]
            if char == "\\":
                piece, at = self.escape(at + 1)
                pieces.append(piece)
                continue
            # an apostrophe inside a word does not end the string; a quote before , : } ] does
            if char == quote and _AFTER_STRING.match(self.text, at + 1):
                return "".join(pieces), at + 1
            plain = _PLAIN.match(self.text, at + 1)
            stop = plain.end() if plain else at + 1
            pieces.append(self.text[at:stop])
            at = stop
        self.furthest = at
        raise LooseJSONError("a string without an end")

    def escape(self, at: int) -> tuple[str, int]:
        char = self.text[at : at + 1]
        if found := _UNICODE.match(self.text, at - 1):  # a whole run: two escapes may be one character
            return json.loads(f'"{found.group()}"'), found.end()
        if char not in _ESCAPES:
            raise LooseJSONError(f"an unknown escape at {at}")
        return _ESCAPES[char], at + 1

    def separator(self, at: int, closing: str) -> int:
        at = self.skip(at)
        if self.text[at : at + 1] == ",":
            return at + 1
        if self.text[at : at + 1] == closing:
            return at
        raise LooseJSONError(f"neither a comma nor {closing!r} at {at}")

    def expect(self, at: int, char: str) -> int:
        at = self.skip(at)
        if self.text[at : at + 1] != char:
            raise LooseJSONError(f"no {char!r} at {at}")
        return at + 1

    def skip(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        at = found.end() if found else at
        self.furthest = max(self.furthest, at)
        return at
