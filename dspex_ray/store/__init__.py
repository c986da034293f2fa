"""The store of programs: every version that an optimisation made, and every model call that was paid for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dspex_agents.database import Database
from dspex_agents.errors import StoreError as DatabaseError
from dspex_agents.settings import Settings
from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError
from dspex_ray.store import calls, versions
from dspex_ray.store.calls import ALL_CALLS, COST_KEYS, CallFilter, CallTotals, CostLine, insert_calls
from dspex_ray.store.tables import MIGRATIONS
from dspex_ray.store.versions import Version, state_hash

__all__ = [
    "COST_KEYS",
    "DEFAULT_PATH",
    "MIGRATIONS",
    "CallFilter",
    "CallTotals",
    "CostLine",
    "Store",
    "Version",
    "insert_calls",
    "open_store",
    "state_hash",
]

DEFAULT_PATH = ".dspex/dspex.db"


class Store:
    """Versions and calls in one database. Migrates it when opened; pickles by the database's URL."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate(MIGRATIONS)

    def __reduce__(self) -> tuple[type[Store], tuple[Database]]:
        """Pickle by the database, which pickles by its URL."""
        return type(self), (self.database,)

    # versions -----------------------------------------------------------------------------------------------------
    def save_version(
        self,
        state: Mapping[str, Any],
        facts: Mapping[str, Any],
        *,
        now: float,
        parent: int | None = None,
        run_id: str | None = None,
    ) -> Version:
        """Keep a program's state under the next number of its path and return the version.

        A run saves one version: a second save of the same run and state returns the first.
        """
        with self.database.transaction() as connection:
            return versions.save(connection, state, facts, now=now, parent=parent, run_id=run_id)

    def versions(self, program: str | None = None) -> list[Version]:
        """Return the versions of a program, or of all, oldest first, without their states."""
        with self.database.read() as connection:
            return versions.listed(connection, program)

    def version(self, program: str, which: str | int = "latest") -> Version:
        """Return one version with its state: a number, or `latest`.

        Raises UnknownNameError if it is not there, UsageError if the store holds none at all.
        """
        known = [version.number for version in self.versions(program)]
        if not known:
            others = {version.program for version in self.versions()}
            if others:
                raise UnknownNameError("program with versions", program, others)
            raise UsageError(
                f"{self.database!r} holds no versions yet. Make one with `dspex optimize {program} --data ...`, or "
                f"leave the version out to use the untuned program."
            )
        number = known[-1] if str(which) == "latest" else next((n for n in known if str(n) == str(which)), None)
        if number is None:
            raise UnknownNameError(f"version of {program}", str(which), ["latest", *map(str, known)])
        with self.database.read() as connection:
            return versions.load(connection, program, number)

    # calls --------------------------------------------------------------------------------------------------------
    def record_calls(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep model calls; one that is kept already (same id) is passed over."""
        with self.database.transaction() as connection:
            insert_calls(connection, rows)

    def totals(self, *, program: str | None = None, run_id: str | None = None) -> CallTotals:
        """Return the sums over all calls, or those of one program path or run."""
        with self.database.read() as connection:
            return calls.totals(connection, CallFilter(program=program, run=run_id))

    def costs(self, by: Sequence[str], which: CallFilter = ALL_CALLS) -> list[CostLine]:
        """Return sums for each combination of what `by` names (see `COST_KEYS`), the dearest first.

        Raises UnknownNameError for what calls are not told by.
        """
        with self.database.read() as connection:
            return calls.costs(connection, by, which)


def open_store(url: str | None = None, settings: Settings | None = None) -> Store:
    """Open the store at `url`, else at `DSPEX_STORE`, else the file `.dspex/dspex.db` in the current directory.

    Raises ConfigurationError when it cannot be used.
    """
    chosen = url or (settings or Settings.from_env()).store or DEFAULT_PATH
    if chosen.removeprefix("sqlite://").strip("/") in ("", ":memory:"):
        raise ConfigurationError(
            f"The store cannot be in memory ({chosen!r}): every process would see one of its own. Name a file."
        )
    try:
        return Store(Database(_absolute(chosen)))
    except DatabaseError as error:
        raise ConfigurationError(str(error)) from error


def _absolute(url: str) -> str:
    """Return the URL with a SQLite file's full path: other processes open it from other folders."""
    path = url.removeprefix("sqlite:///")
    return url if "://" in path else f"sqlite:///{Path(path).expanduser().absolute()}"
