"""`Journal`: the ordered record of one sweep's decisions, from which a new process rebuilds its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from dspex_coordination.errors import JournalError, ResumeError
from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext, Told
from dspex_coordination.sweep.record import Event, RecordedRow
from dspex_coordination.sweep.store import SweepStore
from dspex_coordination.sweep.trial import Trial
from dspex_coordination.sweep.work import RowResult

Hook = Callable[[Connection], None]


def asked(number: int, ask: Ask, pending: int) -> Event:
    """Return the entry for an ask, with the number of trials that were pending when it was made."""
    return Event("ask", number, {**_ask_json(ask), "pending": pending})


def told(result: Told) -> Event:
    """Return the entry for a tell; its rows are in the rows table."""
    return Event("tell", result.number, {"cost_usd": result.cost_usd, "failed": result.failed})


class Journal:
    """Appends to the journal of one sweep, and replays it."""

    def __init__(self, store: SweepStore, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._next_seq = 0

    def append(
        self, now: float, entries: Sequence[Event], results: Sequence[RecordedRow] = (), hooks: Sequence[Hook] = ()
    ) -> None:
        """Write entries and rows and call the hooks, all in one transaction: all of it is durable, or none.

        Raises JournalError if another process is writing to this sweep; what a hook raises passes through.
        """
        with self._store.database.transaction() as connection:
            self._store.append(connection, self._run_id, self._next_seq, now, entries=entries, results=results)
            for hook in hooks:
                hook(connection)
        self._next_seq += len(entries)

    def replay(self, optimizer: Optimizer, context: SearchContext) -> dict[int, Trial]:
        """Repeat every ask and tell on a fresh optimizer and return the trials with their recorded rows.

        Raises ResumeError if the optimizer now asks for something else, JournalError if entries contradict each other.
        """
        recorded: dict[int, list[RowResult]] = {}
        for row in self._store.rows(self._run_id):
            recorded.setdefault(row.trial, []).append(row.result)
        trials: dict[int, Trial] = {}
        for event in self._entries():
            if event.kind == "ask":
                trial = self._repeat_ask(event, len(trials), optimizer, context)
                trial.record(recorded.pop(trial.number, []))
                trials[trial.number] = trial
            elif event.kind == "tell":
                optimizer.tell(self._repeat_tell(event, trials))
        if recorded:
            raise JournalError(f"Sweep {self._run_id!r} has rows of trials never asked: {sorted(recorded)}.")
        return trials

    def _entries(self) -> Iterator[Event]:
        for event in self._store.events(self._run_id):
            self._next_seq += 1
            yield event

    def _repeat_ask(self, event: Event, number: int, optimizer: Optimizer, context: SearchContext) -> Trial:
        if event.trial != number:
            raise JournalError(f"Sweep {self._run_id!r}: the journal asks trial {event.trial} where {number} is next.")
        again = optimizer.ask(event.data["pending"])
        was = {key: value for key, value in event.data.items() if key != "pending"}
        now: Any = None if again is None else _ask_json(again)
        if again is None or now != was:
            raise ResumeError(
                f"Sweep {self._run_id!r} cannot be resumed: trial {number} was {was!r}, but the optimizer "
                f"{optimizer.name!r} now {'stops before it' if now is None else f'asks for {now!r}'}. "
                "Resume with the optimizer, its settings and at least the number of trials it began with, "
                "or start a new run under another run id."
            )
        return Trial(number, again, context.rows_of(again.split))

    def _repeat_tell(self, event: Event, trials: dict[int, Trial]) -> Told:
        trial = trials.get(-1 if event.trial is None else event.trial)
        if trial is None or trial.told is not None:
            raise JournalError(f"Sweep {self._run_id!r}: the journal tells trial {event.trial} out of turn.")
        if event.data["failed"] is not None:
            trial.fail(event.data["failed"])
        if not trial.complete:
            raise JournalError(f"Sweep {self._run_id!r}: rows of the finished trial {event.trial} are missing.")
        return trial.tell(event.data["cost_usd"])


def _ask_json(ask: Ask) -> dict[str, Any]:
    rows = None if ask.rows is None else list(ask.rows)
    return {"candidate": ask.candidate.to_json(), "split": ask.split, "rows": rows}
