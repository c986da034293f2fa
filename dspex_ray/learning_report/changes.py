"""What the best candidate has that the untuned one has not: instructions word by word, demonstrations, values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_ray.versions.words import Piece, word_diff

_LEAST_ADVICE = 12  # characters: a shorter text of an errand says nothing of where an instruction is from
_LONGEST_DIFF = 20_000  # characters: the difference takes the square of it


@dataclass(frozen=True, slots=True)
class InstructionChange:
    """One instruction, word by word, and the trials of the errands whose answers stand in it, with these answers."""

    name: str
    pieces: tuple[Piece, ...]
    advice: tuple[tuple[int, Any], ...]


@dataclass(frozen=True, slots=True)
class DemosChange:
    """How a `Demos` variable chose before and now, and the demonstrations (or their ids) that are new."""

    name: str
    before: str
    after: str
    added: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A number or choice."""

    name: str
    before: Any
    after: Any


Change = InstructionChange | DemosChange | ValueChange


def changes(before: Mapping[str, Any], after: Mapping[str, Any], errands: Mapping[int, Any]) -> tuple[Change, ...]:
    """Return what differs by variable; `errands` are the answers of errands by trial."""
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    return tuple(_change(name, before.get(name), after.get(name), errands) for name in names)


def instructions_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that say what a model call is told."""
    return {name: value for name, value in values.items() if isinstance(value, str) and _is_instruction(name)}


def demos_told(value: Any) -> Any:
    """Return how many demonstrations a value shows, in words; any other value as it is."""
    return _told(value) if _is_demos(value) else value


def _change(name: str, before: Any, after: Any, errands: Mapping[int, Any]) -> Change:
    if _is_demos(before) or _is_demos(after):
        return _demos(name, before or {}, after or {})
    texts = [value or "" for value in (before, after)]
    if _is_instruction(name) and all(isinstance(text, str) for text in texts):
        one, two = texts
        whole = (Piece("removed", one), Piece("added", two))
        pieces = word_diff(one, two) if len(one) + len(two) <= _LONGEST_DIFF else whole
        return InstructionChange(name, pieces, _advice(two, errands))
    return ValueChange(name, before, after)


def _advice(text: str, errands: Mapping[int, Any]) -> tuple[tuple[int, Any], ...]:
    return tuple((trial, answer) for trial, answer in errands.items() if _stands_in(answer, text))


def _stands_in(answer: Any, text: str) -> bool:
    if isinstance(answer, str):
        return len(answer.strip()) >= _LEAST_ADVICE and answer.strip() in text
    if isinstance(answer, Mapping):
        return any(_stands_in(one, text) for one in answer.values())
    return isinstance(answer, list) and any(_stands_in(one, text) for one in answer)


def _demos(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> DemosChange:
    old = {canonical_json(one) for one in _shown(before)}
    added = tuple(one for one in _shown(after) if canonical_json(one) not in old)
    return DemosChange(name, _told(before), _told(after), added)


def _shown(value: Mapping[str, Any]) -> Sequence[Any]:
    return value.get("demos") or value.get("ids") or ()


def _told(value: Mapping[str, Any]) -> str:
    if value.get("select") == "nearest":
        return f"the nearest {value.get('k')}"
    return f"{len(_shown(value))} {value['select']}" if _shown(value) else "none"


def _is_demos(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("select") in ("fixed", "nearest", "given")


def _is_instruction(name: str) -> bool:
    return name.rpartition(".")[2] == "instruction"
