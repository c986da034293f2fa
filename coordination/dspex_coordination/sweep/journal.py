"""`Journal`: the ordered record of one sweep's decisions, from which a new process rebuilds its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import JournalError, ResumeError
from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext, Told
from dspex_coordination.sweep.record import Attempt, Event, RecordedRow
from dspex_coordination.sweep.reuse import KnownRows
from dspex_coordination.sweep.store import SweepStore
from dspex_coordination.sweep.trial import Trial
from dspex_coordination.sweep.work import RowResult

Hook = Callable[[Connection], None]


def asked(number: int, ask: Ask, pending: int) -> Event:
    """Return the entry for an ask, with the number of trials that were pending when it was made."""
    return Event("ask", number, {**_ask_json(ask), "pending": pending})


def asked_at_end(number: int, ask: Ask) -> Event:
    """Return the entry for what the sweep asks itself at its end, of which the optimizer does not know."""
    return Event("ask", number, {**_ask_json(ask), "pending": 0, "closing": True})


def told(result: Told, *, is_aside: bool) -> Event:
    """Return the entry for a tell; its rows are in the rows table."""
    data = {"cost_usd": result.cost_usd, "failed": result.failed, "measures": dict(result.measures)}
    data |= {"errand": True} if is_aside else {}  # for those who count trials
    return Event("tell", result.number, data)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a journal says: the trials with their recorded rows, and the rows left out with the reason."""

    trials: dict[int, Trial]
    left_out: dict[tuple[str, int], str]


def _nobody(_trial: Trial) -> None:
    return


class Journal:
    """Appends to the journal of one sweep, and replays it."""

    def __init__(self, store: SweepStore, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._next_seq = 0

    def copy(self) -> Journal:
        """Return another reader of the same journal."""
        return Journal(self._store, self._run_id)

    def append(
        self,
        now: float,
        entries: Sequence[Event],
        results: Sequence[RecordedRow] = (),
        tried: Sequence[Attempt] = (),
        hooks: Sequence[Hook] = (),
    ) -> None:
        """Write entries, rows and attempts and call the hooks, all in one transaction: all of it is durable, or none.

        Raises JournalError if another process is writing to this sweep; what a hook raises passes through.
        """
        with self._store.database.transaction() as connection:
            self._store.append(
                connection, self._run_id, self._next_seq, now, entries=entries, results=results, tried=tried
            )
            for hook in hooks:
                hook(connection)
        self._next_seq += len(entries)

    def fetch(self, trial: int) -> list[RowResult]:
        """Return the rows evaluated in a trial."""
        return [recorded.result for recorded in self._store.rows(self._run_id, trial)]

    def replay(
        self,
        optimizer: Optimizer,
        context: SearchContext,
        known: KnownRows,
        heard: Callable[[Trial], None] = _nobody,
    ) -> Replayed:
        """Repeat every ask and tell on a fresh optimizer; `heard` is called with each trial once it is told.

        Raises ResumeError if the optimizer now asks for something else, JournalError if entries contradict each other.
        """
        feed = _Feed(self._store.stream_rows(self._run_id))
        trials: dict[int, Trial] = {}
        left_out: dict[tuple[str, int], str] = {}
        self._next_seq = seats = 0  # seats: trials that the optimizer has asked
        for event in self._entries():
            if event.kind == "ask":
                trial = self._repeat_ask(event, len(trials), seats, optimizer, context)
                seats += trial.seat is not None
                leave_out(trial, left_out)
                known.offer(trial)
                trials[trial.number] = trial
            elif event.kind == "tell":
                trial = self._open_trial(event, trials)
                result = self._repeat_tell(event, trial, feed)
                if trial.seat is not None:
                    optimizer.tell(replace(result, number=trial.seat))
                known.note(trial)
                heard(trial)
            elif event.kind == "isolate":
                left_out[event.data["split"], event.data["row"]] = event.data["reason"]
                for trial in trials.values():
                    if trial.told is None:
                        leave_out(trial, left_out)  # unless the store has it
        for trial in trials.values():
            if trial.told is None:
                trial.record(feed.take(trial.number))
        if strange := feed.rest():
            raise JournalError(f"Sweep {self._run_id!r} has rows of trials never asked: {strange}.")
        return Replayed(trials, left_out)

    def _entries(self) -> Iterator[Event]:
        for event in self._store.events(self._run_id):
            self._next_seq += 1
            yield event

    def _repeat_ask(self, event: Event, number: int, seat: int, optimizer: Optimizer, context: SearchContext) -> Trial:
        if event.trial != number:
            raise JournalError(f"Sweep {self._run_id!r}: the journal asks trial {event.trial} where {number} is next.")
        if event.data.get("closing"):
            candidate, rows = Candidate(event.data["candidate"]), tuple(event.data["rows"])
            return Trial(number, Ask(candidate, event.data["split"], rows), context.train_rows)
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
        return Trial(number, again, context.rows_of(again.split), seat)

    def _open_trial(self, event: Event, trials: dict[int, Trial]) -> Trial:
        trial = trials.get(-1 if event.trial is None else event.trial)
        if trial is None or trial.told is not None:
            raise JournalError(f"Sweep {self._run_id!r}: the journal tells trial {event.trial} out of turn.")
        return trial

    def _repeat_tell(self, event: Event, trial: Trial, feed: _Feed) -> Told:
        trial.record(feed.take(trial.number))
        if event.data["failed"] is not None:
            trial.fail(event.data["failed"])
        if not trial.complete:
            raise JournalError(f"Sweep {self._run_id!r}: rows of the finished trial {trial.number} are missing.")
        return trial.tell(event.data["cost_usd"], event.data.get("measures"))


def leave_out(trial: Trial, rows: Mapping[tuple[str, int], str]) -> None:
    """Let a trial do without those of these rows of its split that it does not have."""
    for split, row in rows:
        if split == trial.split:
            trial.leave_out(row)


class _Feed:
    """Recorded rows in the order of trials; holds no more than trials ahead of the one that is wanted need."""

    def __init__(self, rows: Iterator[RecordedRow]) -> None:
        self._rows = rows
        self._ahead: dict[int, list[RowResult]] = {}
        self._next = next(rows, None)

    def take(self, trial: int) -> list[RowResult]:
        """Return the rows of a trial, once."""
        while self._next is not None and self._next.trial <= trial:
            self._ahead.setdefault(self._next.trial, []).append(self._next.result)
            self._next = next(self._rows, None)
        return self._ahead.pop(trial, [])

    def rest(self) -> list[int]:
        """Return the trials whose rows nobody took."""
        left = {recorded.trial for recorded in self._rows}
        if self._next is not None:
            left.add(self._next.trial)
        return sorted(left | set(self._ahead))


def _ask_json(ask: Ask) -> dict[str, Any]:
    rows = None if ask.rows is None else list(ask.rows)
    wishes = {name: True for name in ("fresh", "traced", "teacher") if getattr(ask, name)}
    return {"candidate": ask.candidate.to_json(), "split": ask.split, "rows": rows, **wishes}
