"""`HandOuts`: the rows that wait, those that are with workers, and what becomes of what comes back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination.errors import SweepError
from dspex_coordination.sweep.flights import Flight, Flights
from dspex_coordination.sweep.losses import Losses
from dspex_coordination.sweep.record import Attempt, AttemptOutcome, AttemptSums, Event, RecordedRow
from dspex_coordination.sweep.settings import SweepSettings
from dspex_coordination.sweep.trial import Trial
from dspex_coordination.sweep.turns import Batch, Turns
from dspex_coordination.sweep.units import Unit, WaitingRows, remaining
from dspex_coordination.sweep.work import EvaluateRows, RowsEvaluated

OnRows = Callable[[Connection, RowsEvaluated, EvaluateRows], None]


class HandOuts:
    """Hands units out and takes answers in; what is to be written goes to the batch of the caller.

    `down` says why nothing gets done any more, once that is so.
    """

    def __init__(self, run_id: str, settings: SweepSettings, on_rows: OnRows | None) -> None:
        self.down: str | None = None
        self.kept_usd = self.wasted_usd = 0.0
        self.rows = self.calls = 0
        self._run_id, self._settings, self._on_rows = run_id, settings, on_rows
        self._waiting = WaitingRows(settings.chunk)
        self._flights = Flights(settings.hedge)
        self._losses = Losses(settings.lost_by)
        self._suspects: deque[Unit] = deque()
        self._suspect_out: str | None = None
        self._is_alone = False
        self._workers: set[str] = set()
        self._attempts = 0

    @property
    def needed(self) -> int:
        """How many units are with workers whose answer is awaited."""
        return self._flights.needed

    def resume(self, sums: AttemptSums, trials: Iterable[Trial]) -> None:
        """Take over the counts of earlier drivers."""
        self._attempts, self.wasted_usd = sums.next_number, sums.wasted_usd
        self.calls = sum(sums.calls.values())
        for trial in trials:
            self.rows += trial.recorded
            self.kept_usd += trial.cost_usd

    def add(self, trials: Iterable[Trial]) -> None:
        """Queue what these trials lack."""
        for trial in trials:
            self._waiting.add(trial)

    def hand_out(self, limit: int, now: float, turns: Turns) -> list[Work]:
        """Return at most `limit` units; when none waits, second copies of those that take too long."""
        workers = self._settings.workers or len(self._workers)
        units = self._choose(limit, workers, turns)
        flights = [self._flights.launch(unit, now) for unit in units]
        if not len(self._waiting) and not self._suspects and not self._is_alone:
            late = self._flights.stragglers(now, limit - len(units))
            flights += [self._flights.launch(flight.unit, now, flight.id) for flight in late]
        return [self._work(flight, turns.trials[flight.unit.trial]) for flight in flights]

    def _choose(self, limit: int, workers: int, turns: Turns) -> list[Unit]:
        """Return units to hand out: one suspect at a time, in trouble nothing beside it."""
        suspect = self._next_suspect(turns) if limit > 0 and self._suspect_out is None else None
        is_trouble = self._losses.is_trouble
        if suspect is None:
            return [] if is_trouble and self._suspect_out is not None else self._waiting.take(limit, workers)
        if is_trouble and self.needed:
            self._suspects.appendleft(suspect)
            return []
        self._suspect_out, self._is_alone = suspect.id, is_trouble
        return [suspect] if is_trouble else [suspect, *self._waiting.take(limit - 1, workers)]

    def _next_suspect(self, turns: Turns) -> Unit | None:
        while self._suspects:
            unit = self._suspects.popleft()
            trial = turns.trials[unit.trial]
            if trial.failed is not None or trial.told is not None:
                continue
            parts = remaining(unit, trial.lacks)
            if parts == [unit]:
                return unit
            self._put_back(parts)
        return None

    def take_in(self, outcomes: Sequence[Outcome], now: float, turns: Turns, batch: Batch) -> None:
        """Take answers in, then losses. Raises SweepError for an answer that does not fit its unit."""
        landed = [(outcome, self._land(outcome.work_id, turns)) for outcome in outcomes]
        known = [(outcome, flight) for outcome, flight in landed if flight is not None]
        for outcome, flight in known:
            if outcome.error is None:
                self._answered(outcome, flight, now, turns, batch)
            elif outcome.error.kind == "program":
                self._failed(outcome, flight, now, turns, batch)
        for outcome, flight in known:
            if outcome.error is not None and outcome.error.kind == "infrastructure":
                self._lost(outcome, flight, now, turns, batch)

    def clear(self) -> None:
        """Forget what is with workers."""
        self._flights.clear()

    def _land(self, flight_id: str, turns: Turns) -> Flight | None:
        flight = self._flights.land(flight_id)
        if flight is None and not any(flight_id.startswith(f"{t.number}:{t.split}:") for t in turns.trials.values()):
            raise SweepError(f"Sweep {self._run_id!r} never handed out a unit {flight_id!r}.")
        return flight

    def _answered(self, outcome: Outcome, flight: Flight, now: float, turns: Turns, batch: Batch) -> None:
        unit, trial = flight.unit, turns.trials[flight.unit.trial]
        evaluated = _checked(outcome, unit)
        is_first = self._flights.settle(flight, answered=True)
        self._forget_suspect(flight)
        self._losses.done(unit)
        self._workers.add(outcome.worker)
        self._flights.note_pace(outcome.duration_s, len(unit.rows))
        # a row left out while it was out stays so: its trial may have been told without it
        kept = [row for row in evaluated.rows if is_first and (unit.split, row.row) not in turns.left_out]
        cost, kept_cost = (sum(row.cost_usd for row in rows) for rows in (evaluated.rows, kept))
        self.wasted_usd += cost - kept_cost
        self.kept_usd += kept_cost
        self.rows += len(kept)
        self.calls += len(evaluated.records)
        trial.record(kept)
        trial.calls += len(evaluated.records) if is_first else 0
        batch.results += [RecordedRow(trial.number, row, outcome.worker) for row in kept]
        if self._on_rows is not None:
            batch.hooks.append(_hook(self._on_rows, evaluated, self._payload(unit, trial)))
        word: AttemptOutcome = "done" if is_first else "dropped"
        self._note(batch, outcome, flight, now, word, cost=cost, calls=len(evaluated.records))

    def _failed(self, outcome: Outcome, flight: Flight, now: float, turns: Turns, batch: Batch) -> None:
        trial = turns.trials[flight.unit.trial]
        if self._flights.settle(flight, answered=True) and trial.told is None and outcome.error is not None:
            trial.fail(_reason(outcome.error))
            self._waiting.drop(trial.number)
        self._forget_suspect(flight)
        self._note(batch, outcome, flight, now, "failed")

    def _lost(self, outcome: Outcome, flight: Flight, now: float, turns: Turns, batch: Batch) -> None:
        unit, trial = flight.unit, turns.trials[flight.unit.trial]
        undecided = self._flights.settle(flight, answered=False)
        alone = self._is_alone and unit.id == self._suspect_out
        self._forget_suspect(flight)
        self._note(batch, outcome, flight, now, "lost")
        parts = remaining(unit, trial.lacks)
        if not undecided or trial.failed is not None or trial.told is not None:
            return
        if parts != [unit]:  # some of it was left out meanwhile
            self._put_back(parts)
            return
        reason = "" if outcome.error is None else _reason(outcome.error)
        match self._losses.lost(unit, outcome.worker, alone=alone):
            case "retry":
                self._put_back([unit])
            case _ if trial.seat is None:  # the search is over and safe: this is not worth its failure
                trial.fail(reason)
                self._waiting.drop(trial.number)
            case "split":
                self._put_back(unit.singles())
            case "isolate" if self._rows_left(unit.split, turns) > 1:
                self._isolate(unit, reason, turns, batch)
            case _:
                self._put_back([unit])
                self.down = f"unit {unit.id} was lost at last by {reason}"

    def _forget_suspect(self, flight: Flight) -> None:
        if flight.unit.id == self._suspect_out:
            self._suspect_out, self._is_alone = None, False

    def _put_back(self, units: Iterable[Unit]) -> None:
        for unit in units:
            avoid = self._losses.workers(unit)
            again = replace(unit, avoid=unit.avoid | avoid)
            if self._losses.is_suspect(unit):
                self._suspects.append(again)
            else:
                self._waiting.put_back(again)

    def _rows_left(self, split: str, turns: Turns) -> int:
        every = {"train": turns.context.train_rows, "validation": turns.context.validation_rows}.get(split, 1)
        return every - sum(left == split for left, _ in turns.left_out)

    def _isolate(self, unit: Unit, reason: str, turns: Turns, batch: Batch) -> None:
        workers = sorted(self._losses.workers(unit))
        why = f"lost with {', '.join(workers)}, at last by {reason}"
        turns.leave_out(unit.split, unit.rows[0], why)
        self._waiting.refresh()
        data = {"split": unit.split, "row": unit.rows[0], "reason": why, "workers": workers}
        batch.notes.append(Event("isolate", unit.trial, data))

    def _note(
        self,
        batch: Batch,
        outcome: Outcome,
        flight: Flight,
        now: float,
        word: AttemptOutcome,
        *,
        cost: float = 0.0,
        calls: int = 0,
    ) -> None:
        unit = flight.unit
        reason = None if outcome.error is None else _reason(outcome.error)
        batch.tried.append(
            Attempt(
                self._attempts,
                unit.id,
                unit.trial,
                len(unit.rows),
                outcome.worker,
                flight.started,
                now,
                word,
                cost,
                calls,
                reason,
            )
        )
        self._attempts += 1

    def _payload(self, unit: Unit, trial: Trial) -> EvaluateRows:
        values, ask = trial.candidate.to_json(), trial.ask
        wishes = {"traced": ask.traced, "fresh": ask.fresh, "teacher": ask.teacher}
        return EvaluateRows(self._run_id, unit.trial, values, unit.split, unit.rows, **wishes)

    def _work(self, flight: Flight, trial: Trial) -> Work:
        """Return a unit whose affinity is its place in the split: equal rows of all trials meet at one worker."""
        unit, chunk = flight.unit, self._settings.chunk
        anywhere = flight.twin or unit.split == "errand"
        return Work(
            flight.id,
            self._payload(unit, trial),
            affinity=None if anywhere else f"{unit.split}:{unit.rows[0] // chunk * chunk}",
            cost_hint=float(len(unit.rows)),
            attempts=1,  # losses are judged here
            avoid=unit.avoid,
            apart_from=flight.twin,
        )


def _reason(error: Failure) -> str:
    return f"{error.type}: {error.message}"


def _hook(on_rows: OnRows, evaluated: RowsEvaluated, payload: EvaluateRows) -> Callable[[Connection], None]:
    return lambda connection: on_rows(connection, evaluated, payload)


def _checked(outcome: Outcome, unit: Unit) -> RowsEvaluated:
    value = outcome.value
    if not isinstance(value, RowsEvaluated):
        raise SweepError(f"Unit {outcome.work_id}: a worker must answer RowsEvaluated, got {type(value).__name__}.")
    answered = [result.row for result in value.rows]
    if sorted(answered) != sorted(unit.rows):
        raise SweepError(f"Unit {outcome.work_id}: asked for rows {list(unit.rows)}, the answer has {answered}.")
    return value
