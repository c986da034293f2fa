"""Versions of programs: kept under the next number of their path, never changed, found by many names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_coordination.canonical import canonical_json
from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError
from dspex_ray.store.labels import labels_of
from dspex_ray.store.version_tables import seal, versions

_HASH = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One kept program: what it is (`state`, see `Program.state`) and how it came to be (`facts`, JSON).

    `hash` is the SHA-256 of the state's canonical JSON; a state that does not match it is refused when it is loaded.
    So is one that is not `is_sealed`: what is said of it, scores and origin, was changed after it was saved.
    """

    program: str
    number: int
    hash: str
    created_at: float
    parent: int | None
    run_id: str | None
    facts: Mapping[str, Any]
    state: Mapping[str, Any] | None = None
    is_sealed: bool = True

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
    number, told = (last or 0) + 1, json.dumps(dict(facts))
    row: dict[str, Any] = {
        "program": program,
        "number": number,
        "hash": digest,
        "created_at": float(now),
        "parent": parent,
        "run_id": run_id,
    }
    sealed = seal(row, json.loads(told))
    connection.execute(versions.insert().values(**row, facts=told, state=canonical_json(dict(state)), seal=sealed))
    return load(connection, program, number)


def number_of(connection: Connection, program: str, which: str | int) -> int:
    """Return the number that a name means: `latest`, a number, a label, or the first 8 or more digits of a hash.

    `program@name` is taken too. Raises UnknownNameError with near matches for a name that is none, UsageError if the
    store holds no version at all or what is named is one of another program.
    """
    path, at, name = str(which).rpartition("@")
    if at and path != program:
        raise UsageError(f"{which} is a version of {path}, not of {program}.")
    query = sa.select(versions.c.number, versions.c.hash).where(versions.c.program == program)
    hashes: dict[int, str] = {row.number: row.hash for row in connection.execute(query)}
    if not hashes:
        _refuse_untuned(connection, program)
    if name == "latest":
        return max(hashes)
    if name.isdecimal() and int(name) in hashes:
        return int(name)
    labels = labels_of(connection, program)
    if name in labels:
        return labels[name]
    if _HASH.fullmatch(name):
        found = [number for number, digest in hashes.items() if digest.startswith(name)]
        if len({hashes[number] for number in found}) == 1:
            return max(found)
        _refuse_hash(connection, program, name, found)
    raise UnknownNameError(f"version of {program}", name, ["latest", *labels, *map(str, hashes)])


def number_of_state(connection: Connection, state: Mapping[str, Any]) -> int | None:
    """Return the last version of exactly this state; None if there is none."""
    mine = versions.c.program == str(state["program"]), versions.c.hash == state_hash(state)
    return connection.execute(sa.select(sa.func.max(versions.c.number)).where(*mine)).scalar()


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
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    version = _version(values)
    if version.state is None or state_hash(version.state) != version.hash:
        raise _changed(values, "its content does not match its hash")
    if not version.is_sealed:
        raise _changed(values, "its scores or its origin do not match their seal")
    return version


def _changed(row: Mapping[str, Any], how: str) -> ConfigurationError:
    return ConfigurationError(
        f"Version {row['number']} of {row['program']} in the store was changed after it was saved: {how}. Use another "
        f"version or optimise again."
    )


def _refuse_untuned(connection: Connection, program: str) -> NoReturn:
    others = set(connection.scalars(sa.select(versions.c.program).distinct()))
    if others:
        raise UnknownNameError("program with versions", program, others)
    raise UsageError(
        f"The store holds no versions yet. Make one with `dspex optimize {program} --data ...`, or leave the version "
        f"out to use the untuned program."
    )


def _refuse_hash(connection: Connection, program: str, name: str, found: Sequence[int]) -> None:
    """Raise UsageError if a hash is one of several versions, or of another program's."""
    if found:
        raise UsageError(f"{name!r} begins the hashes of the versions {', '.join(map(str, found))} of {program}.")
    query = sa.select(versions.c.program, versions.c.number).where(versions.c.hash.startswith(name)).limit(1)
    other = connection.execute(query).first()
    if other is not None:
        raise UsageError(f"{name!r} is version {other[1]} of {other[0]}, not of {program}.")


def state_hash(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a state's canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(dict(state)).encode()).hexdigest()


def _version(row: Mapping[str, Any]) -> Version:
    facts, state = _read(row, "facts"), _read(row, "state") if "state" in row else None
    return Version(
        program=row["program"],
        number=row["number"],
        hash=row["hash"],
        created_at=row["created_at"],
        parent=row["parent"],
        run_id=row["run_id"],
        facts=facts,
        state=state,
        is_sealed=row["seal"] is None or row["seal"] == seal(row, facts),
    )


def _read(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        found = json.loads(row[name])
    except json.JSONDecodeError as error:
        raise _changed(row, f"its {name} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise _changed(row, f"its {name} are no object")
    return found
