"""Versions of programs: kept under the next number of their path, never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_coordination.canonical import canonical_json
from dspex_ray.errors import ConfigurationError
from dspex_ray.store.tables import versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One kept program: what it is (`state`, see `Program.state`) and how it came to be (`facts`, JSON).

    `hash` is the SHA-256 of the state's canonical JSON; a state that does not match it is refused when it is loaded.
    """

    program: str
    number: int
    hash: str
    created_at: float
    parent: int | None
    run_id: str | None
    facts: Mapping[str, Any]
    state: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything but the state."""
        return {
            "program": self.program,
            "version": self.number,
            "hash": self.hash,
            "created_at": self.created_at,
            "parent": self.parent,
            "run_id": self.run_id,
            **self.facts,
        }


def save(
    connection: Connection,
    state: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    now: float,
    parent: int | None,
    run_id: str | None,
) -> Version:
    """Keep a state and return its version; that of an equal state which the same run saved before, if there is one."""
    program, digest = str(state["program"]), state_hash(state)
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE versions IN EXCLUSIVE MODE"))  # one next number at a time
    mine = versions.c.program == program
    known = connection.execute(
        sa.select(versions.c.number).where(mine, versions.c.run_id == run_id, versions.c.hash == digest)
    ).scalar()
    if known is not None and run_id is not None:
        return load(connection, program, known)
    last = connection.execute(sa.select(sa.func.max(versions.c.number)).where(mine)).scalar()
    number = (last or 0) + 1
    connection.execute(
        versions.insert().values(
            program=program,
            number=number,
            hash=digest,
            created_at=now,
            parent=parent,
            run_id=run_id,
            facts=json.dumps(dict(facts)),
            state=canonical_json(dict(state)),
        )
    )
    return load(connection, program, number)


def listed(connection: Connection, program: str | None) -> list[Version]:
    """Return the versions of a program, or of all, oldest first, without their states."""
    columns = [column for column in versions.c if column.name != "state"]
    query = sa.select(*columns).order_by(versions.c.program, versions.c.number)
    if program is not None:
        query = query.where(versions.c.program == program)
    return [_version(dict(row._mapping)) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name


def load(connection: Connection, program: str, number: int) -> Version:
    """Return one version with its state. Raises ConfigurationError if it was changed after it was saved."""
    query = sa.select(versions).where(versions.c.program == program, versions.c.number == number)
    row = connection.execute(query).one()
    version = _version(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name
    if version.state is None or state_hash(version.state) != version.hash:
        raise ConfigurationError(
            f"Version {number} of {program} in the store was changed after it was saved: its content does not "
            f"match its hash. Use another version or optimise again."
        )
    return version


def state_hash(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a state's canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(dict(state)).encode()).hexdigest()


def _version(row: Mapping[str, Any]) -> Version:
    return Version(
        program=row["program"],
        number=row["number"],
        hash=row["hash"],
        created_at=row["created_at"],
        parent=row["parent"],
        run_id=row["run_id"],
        facts=json.loads(row["facts"]),
        state=json.loads(row["state"]) if "state" in row else None,
    )
