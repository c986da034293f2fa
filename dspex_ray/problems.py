"""What is wrong with a value, in words: pydantic's errors retold with paths, near matches and the value itself."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Problem = tuple[str, str]  # (path such as `order.lines[2].price`, message)

_SHOWN_OPTIONS = 12
_SHOWN_TEXT = 80
_MOST_ELEMENTS = 20


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


def describe(
    error: ValidationError,
    names: Sequence[str],
    options: Mapping[str, Sequence[Any]],
    given: Any = None,
    hidden: Collection[str] = (),
) -> list[Problem]:
    """Return every problem of a pydantic error.

    `names` are the schema's fields, `options` those of Literal fields, `given` the value that was checked: by it the
    names that pydantic gives the alternatives of a union are left out of the paths. Values of the `hidden` fields are
    not shown. Problems of one path are joined; of more than twenty elements of one list, the rest are counted.
    """
    found: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False, include_context=False):
        loc = fault["loc"]
        message = _message(fault, names, options, shows=not (loc and loc[0] in hidden))
        messages = found.setdefault(_path(_within(given, loc, fault["type"])), [])
        if message not in messages:
            messages.append(message)
    return _counted([(path, "; or: ".join(messages)) for path, messages in found.items()])


def unprefixed(message: str) -> str:
    """Return the words of a ValueError or a failed assertion without what pydantic puts before them."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _message(fault: ErrorDetails, names: Sequence[str], options: Mapping[str, Sequence[Any]], *, shows: bool) -> str:
    loc, kind, value = fault["loc"], fault["type"], fault["input"]
    if kind == "missing":
        return "required, but missing"
    if kind == "extra_forbidden":
        close = near(str(loc[-1]), names) if len(loc) == 1 else ""
        return f"unknown field{close}" + (f"; the fields are {one_of(names)}" if len(loc) == 1 else "")
    if not shows or kind == "dspex":
        return unprefixed(fault["msg"])
    if kind == "literal_error" and len(loc) == 1:
        return _no_option(value, options.get(str(loc[0]), ()))
    if kind in ("value_error", "assertion_error") and isinstance(value, Mapping | BaseModel):
        return unprefixed(fault["msg"])
    return f"{unprefixed(fault['msg'])}, got {shown(value)}"


def _within(given: Any, loc: tuple[int | str, ...], kind: str) -> tuple[int | str, ...]:
    """Return the steps of `loc` that lead into the value: the first one, and those that are there or missing."""
    if given is None:
        return loc
    steps: list[int | str] = []
    for i, step in enumerate(loc):
        inside = _step(given, step)
        if inside is not _NOWHERE:
            given = inside
        elif i and isinstance(step, str) and not (i == len(loc) - 1 and _may_lack(given, kind)):
            continue  # the name of an alternative; a number is always a place
        steps.append(step)
    return tuple(steps)


def _may_lack(given: Any, kind: str) -> bool:
    """Whether the last step of a fault may be a field that is not there."""
    return kind in ("missing", "dspex") and isinstance(given, Mapping | BaseModel)


_NOWHERE = object()


def _step(given: Any, step: int | str) -> Any:
    if isinstance(given, Mapping):
        return given.get(step, _NOWHERE)
    if isinstance(given, list | tuple) and isinstance(step, int):
        return given[step] if step < len(given) else _NOWHERE
    return getattr(given, str(step), _NOWHERE) if isinstance(given, BaseModel) else _NOWHERE


def _counted(problems: list[Problem]) -> list[Problem]:
    kept: list[Problem] = []
    seen: Counter[str] = Counter()
    for path, message in problems:
        owner = path.rpartition("[")[0] if path.endswith("]") else ""
        seen[owner] += 1
        if not owner or seen[owner] <= _MOST_ELEMENTS:
            kept.append((path, message))
    more = {owner: count - _MOST_ELEMENTS for owner, count in seen.items() if owner and count > _MOST_ELEMENTS}
    return kept + [(owner, f"{count} more elements are bad") for owner, count in more.items()]


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
