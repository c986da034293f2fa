"""`answer_key`: what two answers have in common when they say the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

from dspex_coordination.canonical import canonical_json
from dspex_ray.metrics.number_text import number_of

_ENDS = " .!"


def answer_key(output: BaseModel, unlabelled: Collection[str]) -> str:
    """Return a text that is equal for outputs with the same answer: their fields but the `unlabelled` ones.

    Texts are compared without case, width of characters, blanks and a full stop at the end; numbers by value, also
    those that a text consists of (`1,234.0` is 1234). Where every field is unlabelled, all count.
    """
    values = output.model_dump(mode="json")
    kept = {name: one for name, one in values.items() if name not in unlabelled}
    return canonical_json(_plain(kept or values))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    text = " ".join(unicodedata.normalize("NFKC", str(value)).casefold().split()).strip(_ENDS)
    number = value if isinstance(value, int | float) else _number(text)
    return text if number is None else f"{number:.12g}"


def _number(text: str) -> float | None:
    """Return the number that a text consists of; one within a sentence is not the whole answer."""
    return None if any(char.isalpha() for char in text) else number_of(text)
