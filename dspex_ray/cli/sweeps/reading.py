"""Runs as the commands read them from the store: the record, the trials, the scores of a trial's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dspex_agents.errors import StoreError
from dspex_coordination.analysis import SearchRun
from dspex_coordination.errors import UnknownSweepError
from dspex_coordination.sweep import SweepRecord, SweepStore
from dspex_coordination.sweep.record import RecordedRow, TrialRecord
from dspex_coordination.sweep.search_run import search_run
from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError
from dspex_ray.store import open_store

STALE = "stale"
ENDED = ("finished", "budget", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class Look:
    """One run at one moment."""

    record: SweepRecord
    trials: Sequence[TrialRecord]
    run: SearchRun


def opened(url: str | None) -> SweepStore:
    """Return the store of sweeps. Raises ConfigurationError if it cannot be used."""
    database = open_store(url).database
    try:
        return SweepStore(database)
    except StoreError as error:
        raise ConfigurationError(str(error)) from error


def recorded(store: SweepStore, run_id: str) -> SweepRecord:
    """Return a run's record. Raises UsageError with near matches."""
    try:
        return store.load(run_id)
    except UnknownSweepError as error:
        raise UsageError(str(error)) from error


def look(store: SweepStore, run_id: str) -> Look:
    """Return all that is known of a run but its rows. Raises UsageError with near matches."""
    return look_at(store, recorded(store, run_id))


def look_at(store: SweepStore, record: SweepRecord) -> Look:
    """Return all that is known of a recorded run but its rows."""
    trials = store.trials(record.run_id)
    return Look(record, trials, search_run(record, trials))


def shown_status(record: SweepRecord, now: float) -> str:
    """Return the status; `stale` for a run that is called running or paused but has no driver any more."""
    return STALE if record.is_stale(now) else record.status


def rows_of(store: SweepStore, seen: Look, number: int) -> list[RecordedRow]:
    """Return the rows of a trial by row, those too that were taken over from earlier trials of the same candidate."""
    wanted = next(trial for trial in seen.trials if trial.number == number)
    rows = seen.record.rows_of(wanted)
    found: dict[int, RecordedRow] = {}
    what = wanted.candidate, wanted.split, wanted.teacher
    for trial in seen.trials:
        if trial.number <= number and (trial.candidate, trial.split, trial.teacher) == what:
            found |= {row.result.row: row for row in store.rows(seen.record.run_id, trial.number)}
    return [found[row] for row in sorted(rows) if row in found]


def scores_of(store: SweepStore, seen: Look, number: int) -> dict[int, float | None]:
    """Return the scores of a trial by row."""
    return {row.result.row: row.result.score for row in rows_of(store, seen, number)}


def checked_measure(seen: Look, name: str | None) -> str | None:
    """Return the name of a measure. Raises UnknownNameError if the run's scored trials have none of that name."""
    if name is not None and seen.run.scored and name not in seen.run.measures:
        raise UnknownNameError("measure", name, seen.run.measures)
    return name


def resume_hint(record: SweepRecord) -> str:
    """Return the command that goes on with a run, as far as the store knows it."""
    program = record.fingerprint.get("program")
    known = program if isinstance(program, str) and ":" in program else "MODULE:CLASS"
    return f"dspex optimize {known} --data ... --resume {record.run_id}"
