"""`Sweep`: a search as a plan for a coordinator, journalled so that it survives the death of its driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.roles.plan import Outcome, Work
from dspex_coordination.errors import CoordinationError, JournalError, SweepError
from dspex_coordination.optimizers.base import Optimizer, SearchContext
from dspex_coordination.sweep import identity, report
from dspex_coordination.sweep.hand_outs import HandOuts, OnRows
from dspex_coordination.sweep.journal import Journal
from dspex_coordination.sweep.life import LOOK_S, Life
from dspex_coordination.sweep.limits import Limits
from dspex_coordination.sweep.record import Event, Request, SweepRecord
from dspex_coordination.sweep.result import SweepResult, SweepStatus
from dspex_coordination.sweep.settings import SweepSettings
from dspex_coordination.sweep.stop_rules import Standing
from dspex_coordination.sweep.store import SweepStore
from dspex_coordination.sweep.turns import Batch, Remake, Turns

_SETTINGS = SweepSettings()


class Sweep:
    """Asks an optimizer for trials, cuts them into units of rows, and records what comes back.

    Every ask is journalled before its work is handed out, every batch of rows with the tell it causes in one
    transaction. So a new `Sweep` of the same run id, on the same store, goes on where the last one died: it repeats
    asks and tells on a fresh optimizer and evaluates only rows that were never recorded.

    `fingerprint` is the text of a JSON object whose parts name what is searched (program, data, ...); on resumption
    each must be as recorded. `on_rows` is called in the transaction that records an answer, also for one that comes
    second and is dropped; if it raises, nothing of the batch is recorded and the sweep ends with that error.

    A unit that fails as a program fails its trial; what becomes of one lost to infrastructure is in `losses`. A paused
    or cancelled sweep records what is in flight and tells nobody, so that it goes on as if it had not stopped.
    `remake` gives a fresh optimizer for so many trials: what extending a running sweep needs.
    """

    def __init__(  # noqa: PLR0913 - all keyword-only, each a separate fact of the search
        self,
        *,
        run_id: str,
        store: SweepStore,
        optimizer: Optimizer,
        context: SearchContext,
        fingerprint: str,
        settings: SweepSettings = _SETTINGS,
        on_rows: OnRows | None = None,
        clock: Clock | None = None,
        remake: Remake | None = None,
    ) -> None:
        if not run_id or len(run_id) > 100:  # noqa: PLR2004 - the width of the column
            raise SweepError(f"A run id has 1 to 100 characters, got {run_id!r}.")
        self.run_id = run_id
        self._store, self._journal = store, Journal(store, run_id)
        self._fingerprint = identity.parts(fingerprint)
        self._settings, self._remake, self._clock = settings, remake, clock or SystemClock()
        self._life = Life(store, run_id)
        self._turns = Turns(self._journal, optimizer, context)
        self._hands = HandOuts(run_id, settings, on_rows)
        self._config: dict[str, Any] = {}
        self._limits = Limits(settings)
        self._hold: SweepStatus | None = None  # paused, cancelled or failed
        self._why: str | None = None
        self._is_broken = False

    # life ---------------------------------------------------------------------------------------------------------
    def open(self) -> None:
        """Start the sweep, or resume the recorded one. Raises ResumeError or JournalError if that is impossible.

        A paused one stays paused until it is asked to resume.
        """
        now, record = self._clock.now(), self._store.find(self.run_id)
        with self._failing(now):
            if record is not None:
                self._take_over(record.config.get("extended", {}))
            turns = self._turns
            turns.optimizer.start(turns.context)
            turns.ordered = self._settings.reproducible
            turns.pending = identity.pending(record, self._settings, turns.context)
            self._config = identity.configuration(
                turns.context, turns.optimizer.name, self._settings, pending=turns.pending
            )
            if record is None:
                self._store.create(self.run_id, self._fingerprint, self._config, now)
            else:
                self._resume(record)
            self._life.open(record)
            self._hands.add(turns.open.values())
            self._hear(now)
            self._go_on(now, Batch())

    def revisit(self, now: float) -> float:
        """Hear what is asked from outside, and return within how many seconds the next visit is wanted."""
        self._require_open()
        with self._failing(now):
            self._life.tick(now, working=self._hold is None)
            self._hear(now)
        return LOOK_S

    def pull(self, limit: int, now: float) -> Sequence[Work]:
        """Return at most `limit` units of open trials, the earliest trial first."""
        self._require_open()
        with self._failing(now):
            self._go_on(now, Batch())
            if limit < 1 or self._hold is not None or self.finished():
                return []
            work = self._hands.hand_out(limit, now, self._turns)
            if not work and not self._hands.needed:
                raise SweepError(
                    f"Sweep {self.run_id!r} has open trials {sorted(self._turns.open)} but no work for them."
                )
            return work

    def push(self, outcomes: Sequence[Outcome], now: float) -> None:
        """Record a batch in one transaction, then tell the optimizer of the trials that it completed.

        An outcome of a unit not in flight repeats one already settled and is dropped. Raises SweepError for an answer
        that does not fit its unit, and when everything is lost to infrastructure.
        """
        self._require_open()
        with self._failing(now):
            batch = Batch()
            self._hands.take_in(outcomes, now, self._turns, batch)
            self._go_on(now, batch)

    def finished(self) -> bool:
        """Say whether all is done, or was stopped and nothing is in flight any more."""
        return self._status() not in ("running", "paused")

    def cancel(self, reason: str) -> None:
        """Hand out no more work; what is in flight is still recorded. The sweep can be resumed later."""
        self._require_open()
        if self._hold != "cancelled" and not self.finished():
            now = self._clock.now()
            self._turns.hold(now, Batch(notes=[Event("cancel", None, {"reason": reason})]))
            self._stop_with("cancelled", now, reason)

    def pause(self) -> None:
        """Hand out no more work until `resume`; what is in flight is still recorded."""
        self._request(Request(0, "pause", {}, self._clock.now()))

    def resume(self) -> None:
        """Go on after `pause`."""
        self._request(Request(0, "resume", {}, self._clock.now()))

    def extend(self, *, trials: int | None = None, budget_usd: float | None = None) -> None:
        """Allow more trials or money, as new totals. Raises SweepError for more trials without `remake`."""
        data = {name: value for name, value in (("trials", trials), ("budget_usd", budget_usd)) if value is not None}
        self._request(Request(0, "extend", data, self._clock.now()))

    def close(self) -> None:
        """Forget the work in flight; the store belongs to whoever made it."""
        self._hands.clear()
        if not self._is_broken:
            self._life.leave()

    # what is shown ------------------------------------------------------------------------------------------------
    def result(self) -> SweepResult:
        """Return every finished trial and the best. Raises SweepError before the sweep is finished."""
        if not self.finished():
            raise SweepError(f"Sweep {self.run_id!r} is not finished yet.")
        return report.result_of(self.run_id, self._turns, self._hands, self._status(), self._reason())

    def progress(self) -> Mapping[str, Any]:
        """Return counts, scores and cost so far. Scores are means over validation rows, None before there is one."""
        return report.progress_of(self.run_id, self._turns, self._hands, self._status(), self._reason())

    # inside -------------------------------------------------------------------------------------------------------
    def _resume(self, record: SweepRecord) -> None:
        identity.require_same(record, self._fingerprint, self._config)
        self._config |= {"extended": self._limits.extended} if self._limits.extended else {}
        if self._config != record.config:
            self._store.set_config(self.run_id, self._config)
        sums = self._store.attempt_sums(self.run_id)
        self._life.active_s = record.active_s
        self._turns.replay(sums.calls, self._may_ask)
        self._hands.resume(sums, self._turns.trials.values())
        self._hold = "paused" if record.status == "paused" else None

    def _go_on(self, now: float, batch: Batch) -> None:
        if self._hold is None:
            self._hands.add(self._turns.go_on(now, batch, self._may_ask))
            if self._turns.optimizer.done or self._limits.stop is not None:
                self._hands.add(self._turns.close(now, self._settings.closing_rows))
        else:
            self._turns.hold(now, batch)
        if self._hands.down is not None and self._hold != "failed":
            raise SweepError(self._give_up(now, self._hands.down))
        status = self._status()
        if status != "running" or self._hold is None:
            self._life.set(status, now, self._reason())

    def _may_ask(self) -> bool:
        return self._limits.look(self._standing())

    def _standing(self) -> Standing:
        standing = self._turns.board.standing(self._life.active_s)
        if self._turns.ordered:
            return standing
        hands = self._hands
        return replace(standing, cost_usd=hands.kept_usd + hands.wasted_usd, calls=hands.calls, rows=hands.rows)

    def _status(self) -> SweepStatus:
        if self._life.stored is None:
            return "running"
        return report.status_of(self._turns, self._hands, self._hold, self._limits.stop)

    def _reason(self) -> str | None:
        return self._why or report.reason_of(self._turns, self._status(), self._limits.stop)

    # requests -----------------------------------------------------------------------------------------------------
    def _hear(self, now: float) -> None:
        requests = self._life.requests(now)
        if not requests:
            return
        notes = [Event(request.kind, None, {**request.data, "request": request.id}) for request in requests]
        ids = [request.id for request in requests]
        taken = Batch(notes=notes, hooks=[lambda connection: self._store.take_requests(connection, ids, now)])
        self._turns.hold(now, taken)
        for request in requests:
            try:
                self._obey(request, now)
            except CoordinationError as error:  # the request cannot be met; the sweep is none the worse for it
                refused = Event("refused", None, {"request": request.id, "reason": str(error)})
                self._turns.hold(now, Batch(notes=[refused]))

    def _request(self, request: Request) -> None:
        self._require_open()
        self._turns.hold(request.at, Batch(notes=[Event(request.kind, None, request.data)]))
        self._obey(request, request.at)

    def _obey(self, request: Request, now: float) -> None:
        if request.kind == "extend":
            self._extend(request.data)
        elif request.kind == "resume" and self._hold == "paused":
            self._hold = None
            self._life.set("running", now, None)
        elif self._status() not in ("running", "paused") or self._hold == "cancelled":
            return
        elif request.kind == "pause":
            self._stop_with("paused", now, None)
        elif request.kind == "cancel":
            self._stop_with("cancelled", now, str(request.data.get("reason", "on request")))

    def _extend(self, data: Mapping[str, Any]) -> None:
        self._turns.allow(data.get("trials", 0), self._remake)
        self._limits.extend(data)
        self._config |= {
            "max_trials": self._turns.context.max_trials,
            "budget_usd": self._limits.budget_usd,
            "extended": self._limits.extended,
        }
        self._store.set_config(self.run_id, self._config)

    def _take_over(self, extended: Mapping[str, Any]) -> None:
        """Stay with more trials or money that an earlier driver was given while it ran."""
        turns, trials = self._turns, extended.get("trials", 0)
        self._limits.take_over(extended)
        if self._remake is not None and trials > turns.context.max_trials:
            turns.optimizer, turns.context = self._remake(trials), replace(turns.context, max_trials=trials)

    # ends ---------------------------------------------------------------------------------------------------------
    def _stop_with(self, status: SweepStatus, now: float, why: str | None) -> None:
        self._hold, self._why = status, why
        self._life.set(status, now, why)

    def _give_up(self, now: float, reason: str) -> str:
        self._turns.hold(now, Batch(notes=[Event("failure", None, {"reason": reason})]))
        self._stop_with("failed", now, reason)
        return (
            f"Sweep {self.run_id!r} gave up: units of different rows were lost to infrastructure, each of them when no "
            f"other was out, and none was done meanwhile; {reason}. All rows recorded so far are safe; mend the cause "
            f"and resume run {self.run_id!r} to go on from there."
        )

    @contextmanager
    def _failing(self, now: float) -> Iterator[None]:
        """Let the store say why the sweep has ended, when it ends with an error of its own or of its optimizer."""
        try:
            yield
        except BaseException as error:
            self._is_broken = True
            # a journal that cannot be written is perhaps another driver's, which goes on
            if isinstance(error, CoordinationError) and not isinstance(error, JournalError) and self._life.stored:
                self._stop_with("failed", now, str(error))
            raise

    def _require_open(self) -> None:
        if self._life.stored is None:
            raise SweepError(f"Sweep {self.run_id!r}: open() comes first.")
