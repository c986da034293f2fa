"""A model's reply text into a valid output, or an error with everything that is wrong; never a guess between two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from dspex_ray.errors import OutputError
from dspex_ray.problems import joined, shown
from dspex_ray.prompting.loose_json import Conflict, LooseJSONError, read_object, read_text
from dspex_ray.schema import Faults, Schema, check, literal_options

S = TypeVar("S", bound=Schema)

_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)```", re.DOTALL)
_MOST_READ = 1_000_000  # characters read in vain in one reply,
_LEAST_READ = 2_000  # counted for each brace, since a strict look comes before the kind one; and
_MOST_OBJECTS = 64  # objects found in it: both bound the time a hostile reply can take
_QUOTES = "\"'`*\u201c\u201d\u2018\u2019 \t\r\n"


def parse_reply(text: str, output: type[S]) -> S:
    """Return the output a reply spells: one JSON object, alone, fenced or in prose, or a bare label.

    A bare label counts where the schema has one field without a default and that is a Literal; what a model thinks
    aloud in `<think>` first does not. Raises OutputError with every problem, and the raw reply, if there is no object,
    none that is valid, or two valid ones that differ.
    """
    said = without_thoughts(text)
    try:
        objects = _objects(said)
    except Conflict as error:
        raise OutputError(f"The reply contradicts itself: {error}.", text) from error
    except _TooMuchError as error:
        raise OutputError("The reply has too many braces to tell which are the answer.", text) from error
    if not objects:
        bare = _bare_label(said, output)
        if bare is not None:
            return bare
        raise OutputError(f"The reply holds no JSON object: {shown(text)}.", text)
    made = [check(output, found) for found in objects]
    valid = [one for one in made if isinstance(one, output)]
    if not valid:
        faults = next(one for one in reversed(made) if isinstance(one, Faults))
        raise OutputError(f"The reply's JSON does not fit: {joined(faults)}.", text)
    if any(one != valid[0] for one in valid[1:]):
        raise OutputError(f"The reply holds {len(valid)} different answers; only one can be meant.", text)
    return valid[0]


def without_thoughts(text: str) -> str:
    """Return what stands behind the `<think>` block that a reply begins with; all of it if there is none."""
    start, mark, rest = text.partition("</think>")
    return rest if mark and start.lstrip().startswith("<think>") else text


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of the first of these that has any: the whole text, the fenced blocks, the prose."""
    try:
        whole = read_text(text)
    except Conflict:
        raise
    except LooseJSONError:
        whole = None
    if isinstance(whole, dict):
        return [whole]
    scanner = _Scanner()
    for piece in _FENCE.findall(text):
        if found := scanner.objects(piece):
            return found
    return scanner.objects(text)


class _Scanner:
    """Finds the objects in pieces of one reply, within a bound on the characters read in vain."""

    def __init__(self) -> None:
        self.left = _MOST_READ

    def objects(self, text: str) -> list[dict[str, Any]]:
        """Return the objects of a piece, in their order. Raises _TooMuchError beyond the bounds."""
        found: list[dict[str, Any]] = []
        at = text.find("{")
        while at >= 0:
            if self.left <= 0 or len(found) > _MOST_OBJECTS:
                raise _TooMuchError
            try:
                value, end = read_object(text, at)
            except Conflict:
                raise
            except LooseJSONError as error:
                end = at + 1
                self.left -= max(error.read_to - at, _LEAST_READ)
            else:
                found.append(value)
            at = text.find("{", end)
        return found


class _TooMuchError(Exception):
    """More braces than can be told apart in bounded time."""


def _bare_label(text: str, output: type[S]) -> S | None:
    required = [name for name, info in output.model_fields.items() if info.is_required()]
    if len(required) != 1:
        return None
    name = required[0]
    options = [option for option in literal_options(output, name) or () if isinstance(option, str)]
    said = text.strip(_QUOTES)
    prefix, colon, rest = said.partition(":")
    if colon and prefix.strip(_QUOTES).casefold() == name.casefold():
        said = rest
    found = said_option(said, options)
    made = None if found is None else check(output, {name: found})
    return made if isinstance(made, output) else None


def said_option(text: str, options: Sequence[str]) -> str | None:
    """Return the option that a text is: word for word, else in whatever case, quotes or emphasis; None if not one."""
    if text in options:
        return text
    said = text.strip(_QUOTES)
    forms = {said, said.removesuffix(".").strip(_QUOTES)}
    folded = {form.casefold() for form in forms}
    exact = [option for option in options if option in forms]
    matches = exact or [option for option in options if option.casefold() in folded]
    return matches[0] if len(matches) == 1 else None
