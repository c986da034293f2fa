"""`SweepReader`: what the store knows of sweeps, read without disturbing whoever drives them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from dspex_agents.database import Database
from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import JournalError, UnknownSweepError, near_matches
from dspex_coordination.sweep.record import Attempt, AttemptSums, Event, RecordedRow, Request, SweepRecord, TrialRecord
from dspex_coordination.sweep.tables import attempts, events, requests, rows, sweeps
from dspex_coordination.sweep.work import RowResult

_AT_ONCE = 2000  # rows fetched together
_ERRAND = '%"errand":true%'  # in the entry of a tell, see `journal.told`; quotes within its texts are escaped


class SweepReader:
    """The reading half of `SweepStore`. Each method sees one consistent state; long answers can be had in parts."""

    database: Database

    def find(self, run_id: str) -> SweepRecord | None:
        """Return a sweep, or None if there is none of this id."""
        return next(iter(self._records([sweeps.c.run_id == run_id], None)), None)

    def load(self, run_id: str) -> SweepRecord:
        """Return a sweep. Raises UnknownSweepError with near matches."""
        record = self.find(run_id)
        if record is None:
            with self.database.read() as connection:
                known = list(connection.scalars(sa.select(sweeps.c.run_id)))
            raise UnknownSweepError(f"No sweep {run_id!r} in {self.database!r}. {near_matches(run_id, known)}")
        return record

    def list_sweeps(
        self,
        *,
        status: str | Sequence[str] | None = None,
        contains: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> tuple[SweepRecord, ...]:
        """Return sweeps, the newest first, at most `limit`.

        They have one of these statuses, `contains` in their id, and were created at `since` or later.
        """
        conditions: list[sa.ColumnElement[bool]] = []
        if status is not None:
            conditions.append(sweeps.c.status.in_([status] if isinstance(status, str) else list(status)))
        if contains is not None:
            conditions.append(sweeps.c.run_id.contains(contains, autoescape=True))
        if since is not None:
            conditions.append(sweeps.c.created_at >= since)
        return tuple(self._records(conditions, limit))

    def _records(self, conditions: Sequence[sa.ColumnElement[bool]], limit: int | None) -> Iterator[SweepRecord]:
        is_trial = sa.and_(events.c.kind == "tell", events.c.data.not_like(_ERRAND))
        told = sa.select(sa.func.count()).where(events.c.run_id == sweeps.c.run_id, is_trial)
        mine = rows.c.run_id == sweeps.c.run_id
        query = (
            sa.select(
                sweeps,
                told.scalar_subquery().label("trials"),
                sa.select(sa.func.count()).where(mine).scalar_subquery().label("rows"),
                sa.select(sa.func.sum(rows.c.cost_usd)).where(mine).scalar_subquery().label("cost_usd"),
            )
            .where(*conditions)
            .order_by(sweeps.c.created_at.desc(), sweeps.c.run_id)
            .limit(limit)
        )
        with self.database.read() as connection:
            found = connection.execute(query).mappings().all()
        for row in found:
            parsed = {"fingerprint": json.loads(row["fingerprint"]), "config": json.loads(row["config"])}
            yield SweepRecord(**{**row, **parsed, "cost_usd": row["cost_usd"] or 0.0})

    def events(self, run_id: str) -> list[Event]:
        """Return the journal of a sweep in order. Raises JournalError if an entry is missing."""
        query = sa.select(events).where(events.c.run_id == run_id).order_by(events.c.seq)
        with self.database.read() as connection:
            found = connection.execute(query).all()
        if [row.seq for row in found] != list(range(len(found))):
            raise JournalError(f"The journal of sweep {run_id!r} has gaps; it cannot be resumed.")
        return [Event(row.kind, row.trial, json.loads(row.data)) for row in found]

    def trials(self, run_id: str) -> list[TrialRecord]:
        """Return the trials of a sweep in order, open ones too. For the scores of their rows see `rows`."""
        kinds = events.c.kind.in_(("ask", "tell"))
        columns = (events.c.kind, events.c.trial, events.c.at, events.c.data)
        query = sa.select(*columns).where(events.c.run_id == run_id, kinds).order_by(events.c.seq)
        asked: dict[int, TrialRecord] = {}
        with self.database.read() as connection:
            for kind, trial, at, text in connection.execute(query):
                data = json.loads(text)
                asked[trial] = _asked(trial, at, data) if kind == "ask" else _told(asked[trial], at, data)
        self._measure_old(run_id, asked)
        return [asked[number] for number in sorted(asked)]

    def _measure_old(self, run_id: str, trials: dict[int, TrialRecord]) -> None:
        """Give trials that were told before measures were journalled the mean of their scores."""
        old = [t.number for t in trials.values() if t.told_at is not None and t.failed is None and not t.measures]
        if not old:
            return
        mean = sa.func.avg(rows.c.score)
        query = sa.select(rows.c.trial, mean).where(rows.c.run_id == run_id).group_by(rows.c.trial)
        with self.database.read() as connection:
            means = {trial: score for trial, score in connection.execute(query) if score is not None}
        for number in old:
            if number in means:
                trials[number].measures["score"] = means[number]  # type: ignore[index]  # made by `_told` as a dict

    def rows(
        self, run_id: str, trial: int | None = None, *, limit: int | None = None, offset: int = 0
    ) -> list[RecordedRow]:
        """Return evaluated rows of a sweep, or of one trial, by trial and row, in parts where wanted.

        A trial's rows that were taken over from an earlier one of the same candidate are found there.
        """
        query = sa.select(rows).where(rows.c.run_id == run_id)
        if trial is not None:
            query = query.where(rows.c.trial == trial)
        query = query.order_by(rows.c.trial, rows.c.row).limit(limit).offset(offset)
        with self.database.read() as connection:
            return [_recorded(row) for row in connection.execute(query)]

    def stream_rows(self, run_id: str) -> Iterator[RecordedRow]:
        """Yield every evaluated row, by trial and row, without holding all of them."""
        query = sa.select(rows).where(rows.c.run_id == run_id).order_by(rows.c.trial, rows.c.row)
        with self.database.read() as connection:
            for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
                yield _recorded(row)

    def attempts(self, run_id: str, *, limit: int | None = None, offset: int = 0) -> list[Attempt]:
        """Return the hand-outs of units to workers that have ended, in that order."""
        query = sa.select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.number)
        with self.database.read() as connection:
            found = connection.execute(query.limit(limit).offset(offset)).mappings().all()
        return [Attempt(**{key: value for key, value in row.items() if key != "run_id"}) for row in found]

    def attempt_sums(self, run_id: str) -> AttemptSums:
        """Return what the hand-outs of a sweep add up to."""
        one = attempts.c
        columns = (one.trial, one.outcome, sa.func.sum(one.calls), sa.func.sum(one.cost_usd), sa.func.max(one.number))
        query = sa.select(*columns).where(one.run_id == run_id).group_by(one.trial, one.outcome)
        calls: dict[int, int] = {}
        wasted, last = 0.0, -1
        with self.database.read() as connection:
            for trial, outcome, made, cost, number in connection.execute(query):
                last = max(last, number)
                if outcome == "done":
                    calls[trial] = made
                elif outcome == "dropped":
                    wasted += cost
        return AttemptSums(calls, wasted, last + 1)

    def requests(self, run_id: str, *, untaken: bool = False) -> list[Request]:
        """Return what was asked of a sweep from outside, in order; with `untaken` only what is not yet heard."""
        query = sa.select(requests).where(requests.c.run_id == run_id).order_by(requests.c.id)
        if untaken:
            query = query.where(requests.c.taken_at.is_(None))
        with self.database.read() as connection:
            found = connection.execute(query).all()
        return [Request(row.id, row.kind, json.loads(row.data), row.at, row.taken_at) for row in found]


def _asked(number: int, at: float, data: dict[str, Any]) -> TrialRecord:
    only = None if data["rows"] is None else tuple(data["rows"])
    whose = {"teacher": data.get("teacher", False), "closing": data.get("closing", False)}
    return TrialRecord(number, Candidate(data["candidate"]), data["split"], only, at, **whose)


def _told(trial: TrialRecord, at: float, data: dict[str, Any]) -> TrialRecord:
    return TrialRecord(
        trial.number,
        trial.candidate,
        trial.split,
        trial.rows,
        trial.asked_at,
        at,
        data.get("measures", {}),
        data["cost_usd"],
        data["failed"],
        trial.teacher,
        trial.closing,
    )


def _recorded(row: Any) -> RecordedRow:
    _, trial, number, score, output, cost_usd, latency_s, error, worker, measures, *metric, trace, prompt_tokens = row
    measured = {} if measures is None else json.loads(measures)
    traced = None if trace is None else json.loads(trace)
    result = RowResult.recorded(
        number, score, json.loads(output), cost_usd, latency_s, error, measured, *metric, traced, prompt_tokens
    )
    return RecordedRow(trial, result, worker)
