"""`Sweep`: a search as a plan for a coordinator, journalled so that it survives the death of its driver."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Any

from sqlalchemy import Connection

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination.errors import OptimizerError, SpaceError, SweepError
from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext
from dspex_coordination.sweep import identity, journal
from dspex_coordination.sweep.record import Event, RecordedRow
from dspex_coordination.sweep.result import SweepResult, SweepStatus
from dspex_coordination.sweep.reuse import KnownRows
from dspex_coordination.sweep.store import SweepStore
from dspex_coordination.sweep.trial import Trial
from dspex_coordination.sweep.work import EvaluateRows, RowsEvaluated

RETURNS = 3  # how often a unit lost to infrastructure is handed out again before the sweep gives up

OnRows = Callable[[Connection, RowsEvaluated, EvaluateRows], None]


class Sweep:
    """Asks an optimizer for trials, cuts them into units of rows, and records what comes back.

    Every ask is journalled before its work is handed out, every batch of rows with the tells it causes in one
    transaction. So a new `Sweep` of the same run id, on the same store, goes on where the last one died: it repeats
    asks and tells on a fresh optimizer and evaluates only rows that were never recorded.

    `fingerprint` is the text of a JSON object whose parts name what is searched (program, data, ...); on resumption
    each must be as recorded. A unit has at most `chunk` rows; at most `max_pending_trials` trials are open at once.
    Once `budget_usd` is recorded as spent no further trial is asked, and open ones finish. `on_rows` is called in the
    transaction that records a unit's rows; if it raises, nothing of the batch is recorded and the sweep ends with
    that error. A unit that fails as a program fails its trial; one lost to infrastructure is handed out again.
    """

    def __init__(  # noqa: PLR0913 - all keyword-only, each a separate fact of the search
        self,
        *,
        run_id: str,
        store: SweepStore,
        optimizer: Optimizer,
        context: SearchContext,
        fingerprint: str,
        chunk: int = 32,
        max_pending_trials: int = 4,
        budget_usd: float | None = None,
        on_rows: OnRows | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not run_id or len(run_id) > 100:  # noqa: PLR2004 - the width of the column
            raise SweepError(f"A run id has 1 to 100 characters, got {run_id!r}.")
        if chunk < 1 or max_pending_trials < 1:
            raise SweepError(f"chunk and max_pending_trials must be at least 1, got {chunk} and {max_pending_trials}.")
        if budget_usd is not None and not budget_usd > 0:
            raise SweepError(f"budget_usd must be above 0, got {budget_usd!r}; leave it out for no limit.")
        self.run_id = run_id
        self._store, self._journal = store, journal.Journal(store, run_id)
        self._optimizer, self._context = optimizer, context
        self._fingerprint = identity.parts(fingerprint)
        self._chunk, self._max_pending, self._budget = chunk, max_pending_trials, budget_usd
        self._on_rows, self._clock = on_rows, clock or SystemClock()
        self._known = KnownRows(self._journal.fetch)
        self._trials: dict[int, Trial] = {}
        self._waiting: dict[int, deque[tuple[str, EvaluateRows]]] = {}
        self._open: dict[int, Trial] = {}
        self._in_flight: dict[str, EvaluateRows] = {}
        self._losses: Counter[str] = Counter()
        self._spent = 0.0
        self._stopped: SweepStatus | None = None
        self._stored_status: SweepStatus | None = None

    def open(self) -> None:
        """Start the sweep, or resume the recorded one. Raises ResumeError or JournalError if that is impossible."""
        now, config = self._clock.now(), identity.configuration(self._context, self._optimizer.name)
        record = self._store.find(self.run_id)
        self._optimizer.start(self._context)
        if record is None:
            self._store.create(self.run_id, self._fingerprint, config, now)
            self._stored_status = "running"
        else:
            identity.require_same(record, self._fingerprint, config)
            self._stored_status = record.status
            self._trials = self._journal.replay(self._optimizer, self._context, self._known)
            self._spent = fsum(trial.cost_usd for trial in self._trials.values())
            self._open = {number: trial for number, trial in self._trials.items() if trial.told is None}
            for trial in self._open.values():
                self._cut(trial)
        self._advance(now)

    def pull(self, limit: int, now: float) -> Sequence[Work]:
        """Return at most `limit` units of open trials, the earliest trial first, none that is in flight."""
        self._require_open()
        self._advance(now)
        units: list[Work] = []
        if self._stopped is None:
            for trial in self._open.values():
                waiting = self._waiting[trial.number]
                while waiting and trial.failed is None and len(units) < limit:
                    unit_id, payload = waiting.popleft()
                    self._in_flight[unit_id] = payload
                    units.append(_work(unit_id, payload, self._chunk))
        return units

    def push(self, outcomes: Sequence[Outcome], now: float) -> None:
        """Record a batch in one transaction, then tell the optimizer of the trials that it completed.

        An outcome of a unit not in flight repeats one already settled and is dropped. Raises SweepError for an answer
        that does not fit its unit, and when a unit was lost to infrastructure too often.
        """
        self._require_open()
        results: list[RecordedRow] = []
        hooks: list[journal.Hook] = []
        lost: list[tuple[str, EvaluateRows, Failure]] = []
        for outcome in outcomes:
            payload = self._settle(outcome.work_id)
            if payload is None:
                continue
            trial, error = self._trials[payload.trial], outcome.error
            if error is None:
                evaluated = _checked(outcome, payload)
                trial.record(evaluated.rows)
                results += [RecordedRow(trial.number, row, outcome.worker) for row in evaluated.rows]
                if self._on_rows is not None:
                    hooks.append(_hook(self._on_rows, evaluated, payload))
            elif error.kind == "program":
                trial.fail(f"{error.type}: {error.message}")
            else:
                lost.append((outcome.work_id, payload, error))
        self._tell(now, results, hooks)
        self._return(now, lost)
        self._advance(now)

    def finished(self) -> bool:
        """Say whether all is done, or was stopped and nothing is in flight any more."""
        return self._status() != "running"

    def result(self) -> SweepResult:
        """Return every finished trial and the best. Raises SweepError before the sweep is finished."""
        if not self.finished():
            raise SweepError(f"Sweep {self.run_id!r} is not finished yet.")
        trials = tuple(trial.summary() for _, trial in sorted(self._trials.items()) if trial.told is not None)
        best = self._optimizer.best()
        return SweepResult(
            run_id=self.run_id,
            best=None if best is None else self._trials[best.number].summary(),
            trials=trials,
            cost_usd=fsum(trial.cost_usd for trial in self._trials.values()),
            status=self._status(),
        )

    def progress(self) -> Mapping[str, Any]:
        """Return counts, scores and cost so far. Scores are means over validation rows, None before there is one."""
        best, baseline = self._optimizer.best(), self._trials.get(0)
        return {
            "run_id": self.run_id,
            "trials_done": len(self._trials) - len(self._open),
            "trials_total": len(self._trials) if self._optimizer.done else self._context.max_trials,
            "rows_done": sum(trial.recorded for trial in self._trials.values()),
            "best_score": None if best is None else best.mean,
            "baseline_score": None if baseline is None or baseline.told is None else baseline.told.mean,
            "cost_usd": self._spent,
            "status": self._status(),
        }

    def cancel(self, reason: str) -> None:
        """Hand out no more work; what is in flight is still recorded. The sweep can be resumed later."""
        self._require_open()
        if self._stopped is None and not self.finished():
            now = self._clock.now()
            self._journal.append(now, [Event("cancel", None, {"reason": reason})])
            self._stop("cancelled", now)

    def close(self) -> None:
        """Forget the work in flight; the store belongs to whoever made it."""
        self._in_flight.clear()

    def _require_open(self) -> None:
        if self._stored_status is None:
            raise SweepError(f"Sweep {self.run_id!r}: open() comes first.")

    def _status(self) -> SweepStatus:
        """Return the status that follows from the trials; the table of when a sweep has ended."""
        if self._stopped == "failed":
            return "failed"
        if self._in_flight or self._stored_status is None:
            return "running"
        if not self._open and self._optimizer.done:
            return "finished"
        if self._stopped is not None:
            return self._stopped
        return "budget" if not self._open and self._exhausted else "running"

    @property
    def _exhausted(self) -> bool:
        return self._budget is not None and self._spent >= self._budget

    def _advance(self, now: float) -> None:
        """Open as many trials as may be pending, journalled at once, and store a change of status."""
        asks: list[Event] = []
        while self._stopped is None and not self._exhausted and len(self._open) < self._max_pending:
            pending = len(self._open)
            ask = self._optimizer.ask(pending)
            if ask is None:
                if pending == 0 and not self._optimizer.done:
                    raise OptimizerError(f"{self._optimizer.name} waits for a pending trial, but none is pending.")
                break
            trial = Trial(len(self._trials), self._checked_ask(ask), self._context.rows_of(ask.split))
            self._known.offer(trial)
            self._cut(trial)
            asks.append(journal.asked(trial.number, ask, pending))
            self._trials[trial.number] = self._open[trial.number] = trial
        if asks:
            self._journal.append(now, asks)
            if any(trial.complete for trial in self._open.values()):  # all its rows were known
                self._tell(now, [], [])
                self._advance(now)
                return
        status = self._status()
        if status != self._stored_status and (status != "running" or self._stopped is None):
            self._store_status(status, now)

    def _checked_ask(self, ask: Ask) -> Ask:
        owner, count = self._optimizer.name, self._context.rows_of(ask.split)
        try:
            self._context.space.validate(ask.candidate.values)
        except SpaceError as error:
            raise OptimizerError(f"{owner} asked for a candidate outside the space. {error}") from error
        rows = range(count) if ask.rows is None else ask.rows
        if not rows or len(set(rows)) < len(rows) or not all(0 <= row < count for row in rows):
            raise OptimizerError(
                f"{owner} asked for rows {ask.rows!r} of {ask.split}; it needs different rows from 0 to {count - 1}."
            )
        return ask

    def _settle(self, unit_id: str) -> EvaluateRows | None:
        payload = self._in_flight.pop(unit_id, None)
        if payload is None and not any(unit_id.startswith(f"{t.number}:{t.split}:") for t in self._trials.values()):
            raise SweepError(f"Sweep {self.run_id!r} never handed out a unit {unit_id!r}.")
        return payload

    def _cut(self, trial: Trial) -> None:
        """Queue the rows that are lacking, in units of at most `chunk` rows that keep their number for ever."""
        waiting = self._waiting[trial.number] = deque()
        for position in range(0, len(trial.rows), self._chunk):
            rows = tuple(row for row in trial.rows[position : position + self._chunk] if trial.lacks(row))
            if rows:
                payload = EvaluateRows(self.run_id, trial.number, trial.candidate.to_json(), trial.split, rows)
                waiting.append((f"{trial.number}:{trial.split}:{position // self._chunk}", payload))

    def _tell(self, now: float, results: Sequence[RecordedRow], hooks: Sequence[journal.Hook]) -> None:
        complete = [trial for _, trial in sorted(self._open.items()) if trial.complete]
        told = [trial.tell(trial.cost_usd) for trial in complete]
        if results or told or hooks:
            self._journal.append(now, [journal.told(one) for one in told], results, hooks=hooks)
        self._spent = fsum((self._spent, *(recorded.result.cost_usd for recorded in results)))
        for one in told:
            self._known.note(self._open.pop(one.number))
            self._optimizer.tell(one)

    def _return(self, now: float, lost: Sequence[tuple[str, EvaluateRows, Failure]]) -> None:
        for unit_id, payload, failure in lost:
            if payload.trial not in self._open:
                continue  # its trial failed meanwhile and needs no more rows
            self._losses[unit_id] += 1
            if self._losses[unit_id] > RETURNS:
                reason = f"{failure.type}: {failure.message}"
                self._journal.append(now, [Event("failure", payload.trial, {"unit": unit_id, "reason": reason})])
                self._stop("failed", now)
                raise SweepError(
                    f"Sweep {self.run_id!r} gave up: unit {unit_id} (rows {payload.rows[0]} to {payload.rows[-1]}) was "
                    f"lost to infrastructure {RETURNS + 1} times, at last by {reason}. All rows recorded so far are "
                    f"safe; mend the cause and resume run {self.run_id!r} to go on from there."
                )
            self._waiting[payload.trial].appendleft((unit_id, payload))

    def _stop(self, status: SweepStatus, now: float) -> None:
        self._stopped = status
        self._store_status(status, now)

    def _store_status(self, status: SweepStatus, now: float) -> None:
        self._store.set_status(self.run_id, status, now)
        self._stored_status = status


def _work(unit_id: str, payload: EvaluateRows, chunk: int) -> Work:
    """Return a unit whose affinity is its place in the split, so that equal rows of all trials meet at one worker."""
    place = int(unit_id.rsplit(":", 1)[1]) * chunk
    return Work(unit_id, payload, affinity=f"{payload.split}:{place}", cost_hint=float(len(payload.rows)))


def _hook(on_rows: OnRows, evaluated: RowsEvaluated, payload: EvaluateRows) -> journal.Hook:
    return lambda connection: on_rows(connection, evaluated, payload)


def _checked(outcome: Outcome, payload: EvaluateRows) -> RowsEvaluated:
    value = outcome.value
    if not isinstance(value, RowsEvaluated):
        raise SweepError(f"Unit {outcome.work_id}: a worker must answer RowsEvaluated, got {type(value).__name__}.")
    answered = [result.row for result in value.rows]
    if sorted(answered) != sorted(payload.rows):
        raise SweepError(f"Unit {outcome.work_id}: asked for rows {list(payload.rows)}, the answer has {answered}.")
    return value
