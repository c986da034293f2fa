"""A corpus: passages read from texts, from mappings with a text, or given as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.retrieval.base import Passage

_MOST_TOLD = 5
_DIGITS = 8


def read_corpus(given: Any) -> tuple[Passage, ...]:
    """Return the passages of a list of texts, `Passage`s or mappings with `text` and, optionally, `id` and `metadata`.

    Other keys of a mapping are metadata too. A passage without an id goes by its position. Raises ProgramError with
    the first passages that are wrong, for an id that occurs twice, and for a corpus without a passage.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise ProgramError(f"A corpus is a list of texts, of Passages, or of mappings with a text, got {shown(given)}.")
    passages: list[Passage] = []
    wrong: list[str] = []
    for position, one in enumerate(given):
        try:
            passages.append(_passage(one, position))
        except ProgramError as error:
            wrong.append(str(error))
    if wrong:
        more = f"\n  and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        told = "\n  ".join(wrong[:_MOST_TOLD])
        raise ProgramError(f"{len(wrong)} bad passage{'s' * (len(wrong) > 1)} in the corpus:\n  {told}{more}")
    if not passages:
        raise ProgramError("The corpus has no passage; give at least one text.")
    _check_ids(passages)
    return tuple(passages)


def _passage(given: Any, position: int) -> Passage:
    where = f"passage {position}"
    plain = given.to_setting() if isinstance(given, Passage) else given
    found: dict[str, Any] = dict(plain) if isinstance(plain, Mapping) else {"text": plain}
    text, key, metadata = found.pop("text", None), found.pop("id", str(position)), found.pop("metadata", {})
    if not isinstance(text, str):
        raise ProgramError(f"{where}: a text was expected, got {shown(given)}.")
    if not text.strip():
        raise ProgramError(f"{where} is empty.")
    if not isinstance(metadata, Mapping):
        raise ProgramError(f"{where}: metadata is a mapping, got {shown(metadata)}.")
    kept = {**found, **metadata}
    try:
        canonical_json(kept)
    except (TypeError, ValueError) as error:
        raise ProgramError(f"{where}: metadata is JSON, got {shown(kept)}.") from error
    return given if isinstance(given, Passage) else Passage(str(key), text, metadata=kept)


def _check_ids(passages: list[Passage]) -> None:
    seen: dict[str, int] = {}
    for position, one in enumerate(passages):
        if one.id in seen:
            raise ProgramError(f"Passages {seen[one.id]} and {position} of the corpus both have the id {one.id!r}.")
        seen[one.id] = position


def corpus_label(passages: tuple[Passage, ...]) -> str:
    """Return what a corpus is called: how many passages it has, and the beginning of the SHA-256 of their content."""
    content = canonical_json([one.to_setting() for one in passages])
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{len(passages)} passage{'s' * (len(passages) > 1)} #{digest}"
