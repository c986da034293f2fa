"""The store of programs: every version that an optimisation made, and every model call that was paid for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dspex_agents.database import Database
from dspex_agents.errors import StoreError as DatabaseError
from dspex_agents.settings import Settings
from dspex_ray.access.audit import Action
from dspex_ray.budgets.book import Slice, TakeSlice
from dspex_ray.budgets.budget import Budget
from dspex_ray.calls.journal import fold, journal_folder
from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.store import audit_log, budgets, calls, data_rows, labels, versions, watches
from dspex_ray.store.access_keys import ACCESS_MIGRATIONS
from dspex_ray.store.budgets import BUDGET_MIGRATIONS, BudgetStatus, SetBudget
from dspex_ray.store.calls import ALL_CALLS, CALL_COLUMNS, COST_KEYS, CallFilter, CallTotals, CostLine, insert_calls
from dspex_ray.store.labels import LabelMove, MoveLabel, check_label
from dspex_ray.store.tables import MIGRATIONS
from dspex_ray.store.version_tables import VERSION_MIGRATIONS
from dspex_ray.store.versions import Version, state_hash
from dspex_ray.store.watches import WATCH_MIGRATIONS, WatchStep

__all__ = [
    "CALL_COLUMNS",
    "COST_KEYS",
    "DEFAULT_PATH",
    "MIGRATIONS",
    "BudgetStatus",
    "CallFilter",
    "CallTotals",
    "CostLine",
    "LabelMove",
    "MoveLabel",
    "SetBudget",
    "Store",
    "Version",
    "WatchStep",
    "insert_calls",
    "open_store",
    "state_hash",
]

DEFAULT_PATH = ".dspex/dspex.db"

_log = logging.getLogger(__name__)


class Store:
    """Versions and calls in one database. Migrates it when opened; pickles by the database's URL."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate((*MIGRATIONS, *BUDGET_MIGRATIONS, *VERSION_MIGRATIONS, *WATCH_MIGRATIONS, *ACCESS_MIGRATIONS))

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
        """Return one version with its state, by its number, `latest`, a label or 8 or more digits of its hash.

        Raises UnknownNameError with near matches for a name that is none, UsageError if the store holds no version or
        the one named is another program's, ConfigurationError if it was changed after it was saved.
        """
        with self.database.read() as connection:
            return versions.load(connection, program, versions.number_of(connection, program, which))

    def version_of_state(self, state: Mapping[str, Any]) -> int | None:
        """Return the number of the last version that is exactly this state of a program; None if there is none."""
        with self.database.read() as connection:
            return versions.number_of_state(connection, state)

    # labels -------------------------------------------------------------------------------------------------------
    def labels(self, program: str) -> dict[str, int]:
        """Return the version that each label of a program names."""
        with self.database.read() as connection:
            return labels.labels_of(connection, program)

    def label_moves(self, program: str | None = None, label: str | None = None) -> list[LabelMove]:
        """Return every move of a program's labels, or of all programs', each label's in order; none is ever lost."""
        with self.database.read() as connection:
            return labels.moves_of(connection, program, label)

    def move_label(self, ask: MoveLabel) -> LabelMove | None:
        """Move a label and keep the move; return None if it stands there already.

        Raises UsageError for a bad label or when it stands elsewhere than expected, UnknownNameError for a version or,
        when it is to be removed, a label that is not there.
        """
        check_label(ask.label)
        with self.database.transaction() as connection:
            if ask.to is not None:
                versions.number_of(connection, ask.program, ask.to)
            elif ask.label not in (known := labels.labels_of(connection, ask.program)):
                raise UnknownNameError(f"label of {ask.program}", ask.label, known)
            moved = labels.move(connection, ask)
            if moved is not None:
                audit_log.append(connection, _told(moved), moved.at)
            return moved

    def rollback(self, program: str, label: str, *, by: str, now: float, why: str = "") -> LabelMove:
        """Let a label name what it named before, and once more what it named before that, and keep the move.

        Raises UnknownNameError for a label the program has not, UsageError if it has named nothing before.
        """
        ask = MoveLabel(program=program, label=label, kind="rollback", to=None, by=by, at=now, why=why)
        with self.database.transaction() as connection:
            moved = labels.roll_back(connection, ask)
            audit_log.append(connection, _told(moved), moved.at)
            return moved

    # watches ------------------------------------------------------------------------------------------------------
    def keep_watch_step(self, step: WatchStep) -> None:
        """Keep the next step of a watch. Raises UsageError if another watch of the same label kept it meanwhile."""
        with self.database.transaction() as connection:
            watches.append(connection, step)

    def watch_steps(self, program: str, label: str, count: int = 20) -> list[WatchStep]:
        """Return the last steps of the watch over a program's label, oldest first; [] if it was never watched."""
        with self.database.read() as connection:
            return watches.last(connection, program, label, count)

    # data ---------------------------------------------------------------------------------------------------------
    def keep_data_rows(self, fingerprint: str, source: str, inputs: Sequence[str]) -> None:
        """Keep the ids of the inputs of a data set by its fingerprint, so that it can be known again, row by row."""
        with self.database.transaction() as connection:
            data_rows.keep(connection, fingerprint, source, inputs)

    def data_rows(self, fingerprint: str) -> frozenset[str] | None:
        """Return the ids of the inputs of a data set; None if they were never kept."""
        with self.database.read() as connection:
            return data_rows.load(connection, fingerprint)

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

    def single_calls(self, which: CallFilter = ALL_CALLS) -> Iterator[dict[str, Any]]:
        """Yield the calls that fit as flat JSON objects, the oldest first, all as of one moment."""
        with self.database.read() as connection:
            yield from calls.single(connection, which)

    def keep_journal(self, rows: Iterable[Mapping[str, Any]], holder: str | None) -> None:
        """Keep the calls of a process's journal; `holder` is dead and these are the last ones, so its leases end."""
        with self.database.transaction() as connection:
            insert_calls(connection, ({name: row.get(name) for name in CALL_COLUMNS} for row in rows))
            if holder is not None:
                budgets.settle(connection, holder)

    # budgets ------------------------------------------------------------------------------------------------------
    def set_budget(self, budget: Budget, *, now: float) -> None:
        """Set a hard cap, or change the one of this scope and name; running processes heed it within seconds."""
        with self.database.transaction() as connection:
            budgets.put(connection, budget, now)

    def remove_budget(self, scope: str, name: str) -> None:
        """Remove a hard cap. Raises UnknownNameError if there is none of this scope and name."""
        with self.database.transaction() as connection:
            known = [one.budget.key for one in budgets.listed(connection)]
            if not budgets.remove(connection, scope, name):
                raise UnknownNameError("budget", "all" if scope == "all" else f"{scope}:{name}", known)

    def budgets(self) -> list[SetBudget]:
        """Return all hard caps."""
        with self.database.read() as connection:
            return budgets.listed(connection)

    def budget_statuses(self, *, now: float) -> list[BudgetStatus]:
        """Return what is spent and lent of all hard caps in the windows that hold `now`."""
        with self.database.read() as connection:
            return [budgets.status(connection, one, now) for one in budgets.listed(connection)]

    def take_budget(self, ask: TakeSlice, *, now: float) -> Slice:
        """Lend a process a slice of a hard cap."""
        with self.database.transaction() as connection:
            return budgets.take(connection, ask, now)


def _told(move: LabelMove) -> Action:
    details = {"label": move.label, "step": move.step, "before": move.before, "after": move.after, "why": move.why}
    return Action(by=move.by, action=f"label.{move.kind}", subject=move.program, details=details)


def open_store(url: str | None = None, settings: Settings | None = None) -> Store:
    """Open the store at `url`, else at `DSPEX_STORE`, else the file `.dspex/dspex.db` in the current directory.

    Calls that killed processes of this machine left in their journals are kept first. Raises ConfigurationError when
    it cannot be used.
    """
    chosen = url or (settings or Settings.from_env()).store or DEFAULT_PATH
    if chosen.removeprefix("sqlite://").strip("/") in ("", ":memory:"):
        raise ConfigurationError(
            f"The store cannot be in memory ({chosen!r}): every process would see one of its own. Name a file."
        )
    try:
        store = Store(Database(_absolute(chosen)))
        _fold(store)
    except DatabaseError as error:
        raise ConfigurationError(str(error)) from error
    return store


def _fold(store: Store) -> None:
    folder = journal_folder(store.database.url)
    try:
        fold(folder, store.keep_journal)
    except OSError as error:
        _log.warning("journals of model calls in %s stay for who may read them: %s", folder, error)


def _absolute(url: str) -> str:
    """Return the URL with a SQLite file's full path: other processes open it from other folders."""
    path = url.removeprefix("sqlite:///")
    return url if "://" in path else f"sqlite:///{Path(path).expanduser().absolute()}"
