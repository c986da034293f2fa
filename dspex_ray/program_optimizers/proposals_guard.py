"""What a proposed instruction must keep to: no rows of the data in it, and no more characters than allowed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dspex_ray.example import Example

MOST_WORDS = 8
"""Words in a row that an instruction may share with the input of a row."""

Run = tuple[str, ...]

_WHOLE_FROM = 5  # words from which on a whole input counts, where it is shorter than the limit
_COMMON = 10  # what stands in more than a tenth of the rows is their form and not their content
_WORD = re.compile(r"\w+")
_ENDS = re.compile(r"[.!?](?=\s)|\n")


def copied_from(text: str, rows: Sequence[Example], most_words: int = MOST_WORDS) -> str | None:
    """Return the longest run of words of `text` that is copied from the input of a row; None if nothing is.

    Copied is a run of more than `most_words` words, or a whole input of 5 words or more; case and punctuation are no
    matter. What stands in more than a tenth of the rows (and in more than one) is no copy.
    """
    words = _words(text)
    places = {size: _places(words, size) for size in range(_WHOLE_FROM, most_words + 2)}
    hits: list[tuple[int, Run, Run, int]] = []
    for number, row in enumerate(rows):
        for given in [_words(one) for one in _texts(row.input)]:
            size = min(len(given), most_words + 1)
            known = places.get(size)
            if known:
                hits += [(number, run, given, at) for at, run in enumerate(_runs(given, size)) if run in known]
    common = Counter(run for _, run in {(number, run) for number, run, _, _ in hits})
    most_rows = max(1, len(rows) // _COMMON)
    found = [
        _extended(words[start:], given[at:])
        for _, run, given, at in hits
        if common[run] <= most_rows
        for start in places[len(run)][run]
    ]
    longest: Run = max(found, key=lambda one: (len(one), one), default=())
    return " ".join(longest) or None


def bounded(text: str, most_chars: int) -> str:
    """Return `text` without quotes or a fence around it, cut after its last whole sentence or line that has room.

    The empty text if not even the first has.
    """
    text = _bare(text.strip())
    if len(text) <= most_chars:
        return text
    ends = [match.end() for match in _ENDS.finditer(text) if match.end() <= most_chars]
    return text[: ends[-1]].strip() if ends else ""


def _bare(text: str) -> str:
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text.partition("\n")[2].removesuffix("```").strip()
    for quote in ('"', "'"):
        if len(text) > 1 and text[0] == text[-1] == quote and quote not in text[1:-1]:
            return text[1:-1].strip()
    return text


def _places(words: Run, size: int) -> dict[Run, list[int]]:
    """Return where each run of `size` words stands."""
    places: dict[Run, list[int]] = {}
    for start, run in enumerate(_runs(words, size)):
        places.setdefault(run, []).append(start)
    return places


def _extended(words: Run, given: Run) -> Run:
    """Return what both begin with."""
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(words, given, strict=False))
    return tuple(word for word, _ in alike)


def _runs(words: Run, size: int) -> Iterator[Run]:
    return (words[start : start + size] for start in range(len(words) - size + 1))


def _words(text: str) -> Run:
    return tuple(_WORD.findall(text.casefold()))


def _texts(value: Any) -> Iterable[str]:
    """Yield every text in a JSON value; pictures given as data are none."""
    if isinstance(value, str):
        if not value.startswith("data:"):
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
