"""A word-by-word difference of two texts."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

_TOKENS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that both have (`same`), or that only one has."""

    kind: Literal["same", "removed", "added"]
    text: str


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """Return pieces whose `same` and `removed` texts make `before`, and whose `same` and `added` ones make `after`."""
    ones, twos = _TOKENS.findall(before), _TOKENS.findall(after)
    found: list[Piece] = []
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, ones, twos, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(Piece("same", "".join(ones[i1:i2])))
            continue
        if i1 < i2:
            found.append(Piece("removed", "".join(ones[i1:i2])))
        if j1 < j2:
            found.append(Piece("added", "".join(twos[j1:j2])))
    return tuple(found)
