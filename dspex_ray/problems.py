"""What is wrong with a value, in words: pydantic's errors retold with paths, near matches and the value itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

Problem = tuple[str, str]  # (path such as `order.lines[2].price`, message)

_SHOWN_OPTIONS = 12
_SHOWN_TEXT = 80


def near(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest known name, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def shown(value: Any) -> str:
    """Return the value's repr, cut to one line's length."""
    text = repr(value)
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 3] + "..."


def one_of(options: Sequence[Any]) -> str:
    """Return the options in a row, cut after a dozen."""
    text = ", ".join(repr(option) for option in options[:_SHOWN_OPTIONS])
    return text if len(options) <= _SHOWN_OPTIONS else f"{text}, ... ({len(options)} in all)"


def joined(problems: Iterable[Problem]) -> str:
    """Return the problems in one line: `path: message; path: message`."""
    return "; ".join(f"{path}: {message}" if path else message for path, message in problems)


def describe(error: ValidationError, names: Sequence[str], options: Mapping[str, Sequence[Any]]) -> list[Problem]:
    """Return every problem of a pydantic error. `names` are the schema's fields, `options` those of Literal fields."""
    problems: list[Problem] = []
    for fault in error.errors(include_url=False):
        loc = fault["loc"]
        top = str(loc[0]) if loc else ""
        if fault["type"] == "missing":
            message = "required, but missing"
        elif fault["type"] == "extra_forbidden":
            close = near(str(loc[-1]), names) if len(loc) == 1 else ""
            message = f"unknown field{close}" + (f"; the fields are {one_of(names)}" if len(loc) == 1 else "")
        elif fault["type"] == "literal_error" and len(loc) == 1:
            message = _no_option(fault["input"], options.get(top, ()))
        else:
            message = f"{fault['msg']}, got {shown(fault['input'])}"
        problems.append((_path(loc), message))
    return problems


def _no_option(value: Any, options: Sequence[Any]) -> str:
    close = near(value, [o for o in options if isinstance(o, str)]) if isinstance(value, str) else ""
    return f"{shown(value)} is not one of {one_of(options)}{close}"


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def faithful(given: Any, got: Any, path: str = "") -> list[Problem]:
    """Return where lenient validation made another value of a JSON value than the one written.

    True is no number, 1 and "1" are not true, and a number stays that number. `got` is in its JSON form.
    """
    if isinstance(given, Mapping) and isinstance(got, Mapping):
        pairs = [(_path((path, str(key)) if path else (str(key),)), key) for key in given if key in got]
        return [problem for where, key in pairs for problem in faithful(given[key], got[key], where)]
    if isinstance(given, list | tuple) and isinstance(got, list) and len(given) == len(got):
        pieces = zip(given, got, strict=True)
        return [p for i, (one, other) in enumerate(pieces) for p in faithful(one, other, f"{path}[{i}]")]
    return [] if _same(given, got) else [(path, f"{shown(given)} is not exactly a {_kind(got)}")]


def _same(given: Any, got: Any) -> bool:
    match given:
        case bool():
            return not isinstance(got, int | float) or isinstance(got, bool)
        case int() | float():
            return not isinstance(got, bool) and (not isinstance(got, int | float) or given == got)
        case str():
            return not isinstance(got, bool) or not given.strip().isdigit()
        case _:
            return True


def _kind(got: Any) -> str:
    return {bool: "truth value; write true or false", int: "whole number", float: "number"}.get(type(got), "value")
