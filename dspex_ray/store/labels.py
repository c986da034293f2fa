"""Labels of versions, such as `production`: where each stands, and every move that brought it there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.problems import shown
from dspex_ray.store.version_tables import label_moves

MoveKind = Literal["promote", "rollback", "label", "remove"]

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_TAKEN = frozenset({"latest", "untuned"})
_MOST_WHO, _MOST_WHY = 200, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMove:
    """One move of a program's label from version `before` to `after`, None where it named none.

    `step` counts the label's moves from 1. `by` says who moved it and `why`; `facts` are those of a gate.
    """

    program: str
    label: str
    step: int
    kind: MoveKind
    before: int | None
    after: int | None
    at: float
    by: str
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the move as JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"facts": dict(self.facts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLabel:
    """What is asked of a label. `expected` is where the asker saw it stand; leave it out to move it from anywhere."""

    program: str
    label: str
    kind: MoveKind
    to: int | None
    by: str
    at: float
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    expected: int | Literal["anywhere"] | None = "anywhere"


def check_label(name: str) -> str:
    """Return the name. Raises UsageError for one that no label can have."""
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise UsageError(
            f"A label is lower-case letters, digits and any of _.- after a letter, at most 63, and not `latest` or "
            f"`untuned`, got {shown(name)}."
        )
    return name


def standing(moves: Iterable[LabelMove]) -> tuple[int | None, ...]:
    """Return what a label has named, the present last, without what rollbacks took back; () before its first move."""
    found: list[int | None] = []
    for move in moves:
        if move.kind != "rollback":
            found.append(move.after)
            continue
        found.pop()
        while found and found[-1] is None:
            found.pop()
    return tuple(found)


def earlier(moves: Iterable[LabelMove]) -> int | None:
    """Return the version that a rollback goes to: what the label named before the present; None for none."""
    return next((number for number in reversed(standing(moves)[:-1]) if number is not None), None)


def moves_of(connection: Connection, program: str | None, label: str | None = None) -> list[LabelMove]:
    """Return the moves of a program's labels, or of all programs', of one label if given, in order."""
    query = sa.select(label_moves).order_by(label_moves.c.program, label_moves.c.label, label_moves.c.step)
    if program is not None:
        query = query.where(label_moves.c.program == program)
    if label is not None:
        query = query.where(label_moves.c.label == label)
    return [LabelMove(**{**row, "facts": json.loads(row["facts"])}) for row in connection.execute(query).mappings()]


def labels_of(connection: Connection, program: str) -> dict[str, int]:
    """Return the version that each of a program's labels names now."""
    last = {move.label: move.after for move in moves_of(connection, program)}
    return {label: number for label, number in last.items() if number is not None}


def move(connection: Connection, ask: MoveLabel) -> LabelMove | None:
    """Keep a move and return it; None if the label stands there already. The version is known to be there.

    Raises UsageError for a bad name and when the label stands elsewhere than expected.
    """
    check_label(ask.label)
    moves = _locked(connection, ask.program, ask.label)
    before = moves[-1].after if moves else None
    if ask.expected not in ("anywhere", before):
        raise UsageError(
            f"{ask.label} of {ask.program} was moved meanwhile: it names {_told(before)}, and named "
            f"{_told(ask.expected)} when this began. Look at the moves and try again."
        )
    return None if before == ask.to else _kept(connection, ask, len(moves) + 1, before)


def roll_back(connection: Connection, ask: MoveLabel) -> LabelMove:
    """Move a label to what it named before (`ask.to` is not read) and return the move.

    Raises UnknownNameError for a label the program has not, UsageError if it has named nothing before.
    """
    moves = _locked(connection, ask.program, ask.label)
    if not moves:
        raise UnknownNameError(f"label of {ask.program}", ask.label, labels_of(connection, ask.program))
    to = earlier(moves)
    if to is None:
        raise UsageError(
            f"{ask.label} of {ask.program} has named no version before {_told(moves[-1].after)}, so there is nothing "
            f"to go back to."
        )
    back = MoveLabel(
        program=ask.program, label=ask.label, kind="rollback", to=to, by=ask.by, at=ask.at, why=ask.why, facts=ask.facts
    )
    return _kept(connection, back, len(moves) + 1, moves[-1].after)


def _locked(connection: Connection, program: str, label: str) -> list[LabelMove]:
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE label_moves IN EXCLUSIVE MODE"))  # one next step at a time
    return moves_of(connection, program, label)


def _kept(connection: Connection, ask: MoveLabel, step: int, before: int | None) -> LabelMove:
    kept = LabelMove(
        program=ask.program,
        label=ask.label,
        step=step,
        kind=ask.kind,
        before=before,
        after=ask.to,
        at=ask.at,
        by=_text(ask.by, _MOST_WHO) or "unknown",
        why=_text(ask.why, _MOST_WHY),
        facts=dict(ask.facts),
    )
    connection.execute(label_moves.insert().values(**{**kept.to_json(), "facts": json.dumps(dict(ask.facts))}))
    return kept


def _text(value: str, most: int) -> str:
    """Return text that every database takes."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")[:most]


def _told(number: int | str | None) -> str:
    return "no version" if number is None else f"version {number}"
