"""`LetterStore`: an agent's dead letters in the database. Of a message that is not JSON only a preview goes there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Database, Migration
from dspex_agents.messaging.dead_letters import DeadLetter
from dspex_agents.services.letter_book import KeptLetter

_metadata = sa.MetaData()
_letters = sa.Table(
    "dead_letters",
    _metadata,
    # SQLite counts up by itself only for a plain INTEGER key
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("letter", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=True),
    sa.Column("preview", sa.Text, nullable=False),
    sa.Column("kept_at", sa.Float, nullable=False),
    sa.Column("redrives", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Float, nullable=True),
    sa.UniqueConstraint("agent", "id"),
)


def _create_tables(connection: Connection) -> None:
    _metadata.create_all(connection, tables=[_letters])


LETTER_MIGRATIONS = (Migration("deadletters-001-letters", _create_tables),)
_PIECE = 500  # databases bound how many values a statement may name


class LetterStore:
    """Every method is one transaction and blocks. Makes its table at once. Raises StoreError."""

    def __init__(self, database: Database, agent: str) -> None:
        self._database, self._agent = database, agent
        database.migrate(LETTER_MIGRATIONS)

    def load(self) -> list[KeptLetter]:
        """Return every letter, oldest first."""
        t = _letters.c
        query = sa.select(t.letter, t.preview, t.kept_at, t.message, t.redrives, t.due_at)
        with self._database.read() as connection:
            rows = connection.execute(query.where(t.agent == self._agent).order_by(t.position)).all()
        return [
            KeptLetter(_letter(letter), preview, kept_at, message, None, redrives, due_at)
            for letter, preview, kept_at, message, redrives, due_at in rows
        ]

    def add(self, kept: Sequence[KeptLetter], dropped: Iterable[str]) -> None:
        """Keep letters, and forget those that lost their place."""
        with self._database.transaction() as connection:
            if kept:
                connection.execute(_letters.insert(), [self._row(letter) for letter in kept])
            self._delete(connection, dropped)

    def update(self, kept: KeptLetter) -> None:
        """Note how a letter fares."""
        t = _letters.c
        with self._database.transaction() as connection:
            mine = _letters.update().where(t.agent == self._agent, t.id == kept.letter.id)
            connection.execute(mine.values(self._row(kept)))

    def delete(self, ids: Iterable[str]) -> None:
        """Forget letters."""
        with self._database.transaction() as connection:
            self._delete(connection, ids)

    def _delete(self, connection: Connection, ids: Iterable[str]) -> None:
        t, every = _letters.c, list(ids)
        for start in range(0, len(every), _PIECE):
            piece = every[start : start + _PIECE]
            connection.execute(_letters.delete().where(t.agent == self._agent, t.id.in_(piece)))

    def _row(self, kept: KeptLetter) -> dict[str, Any]:
        return {
            "agent": self._agent,
            "id": kept.letter.id,
            "letter": json.dumps(asdict(kept.letter)),
            "message": kept.json,
            "preview": kept.preview,
            "kept_at": kept.kept_at,
            "redrives": kept.redrives,
            "due_at": kept.due_at if kept.json is not None else None,
        }


def _letter(text: str) -> DeadLetter:
    return DeadLetter(**json.loads(text))
