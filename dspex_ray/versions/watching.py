"""`Watch`: the version that a label names is scored on new rows again and again, and optimised when it drifts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from dspex_agents import Clock, IdSource, RandomIds, SystemClock
from dspex_agents.errors import AgentSystemError
from dspex_coordination.sweep import SweepStore
from dspex_ray.calls import tagged
from dspex_ray.calls.ledger_context import ledger
from dspex_ray.data import Dataset, load_data
from dspex_ray.errors import (
    BudgetExceededError,
    ClusterError,
    DataError,
    DspexError,
    InterruptedRunError,
    LMError,
    UnknownNameError,
)
from dspex_ray.evaluation import evaluate
from dspex_ray.metrics import MetricError
from dspex_ray.optimization import Progress, optimize
from dspex_ray.optimized import Optimized
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.store import Store, Version, WatchStep
from dspex_ray.versions.drift import Drift, Next
from dspex_ray.versions.promotion import HeldOut, Promotion, promote
from dspex_ray.versions.watch_plan import WatchPlan, require_search
from dspex_ray.versions.watch_rows import WatchRows, part
from dspex_ray.versions.watch_state import Underway, WatchState, decide

StepKind = Literal["checked", "unchecked", "begun", "promoted", "offered", "refused", "failed"]
"""What a step came to: a score or none; an optimisation that began; one whose version took the label, passed the gate
but waits for someone to move the label, or did not pass; one that came to no version."""

_RESUMABLE = (LMError, ClusterError, BudgetExceededError, AgentSystemError)


class _Given:
    """Gives a run the id under which the watch has announced it."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def new(self, prefix: str) -> str:
        del prefix
        return self._run_id


class Watch:
    """Goes on from the last step in the store, whoever made it; so it may be ended anywhere, also in the middle.

    An optimisation under way is then resumed by its run id. Raises UnknownNameError for a label that names no version.
    """

    def __init__(
        self,
        plan: WatchPlan,
        store: Store,
        *,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._plan, self._store, self._progress = plan, store, progress
        self._clock, self._ids = clock or SystemClock(), ids or RandomIds()
        require_search(plan, self._version())

    def run(self, wait: Callable[[float], None], tell: Callable[[WatchStep | Next], None]) -> None:
        """Take steps for ever; `wait` is asked to let so many seconds pass, `tell` is told of each step and wait."""
        while True:
            found = self.step()
            tell(found)
            if isinstance(found, Next):
                wait(max(0.0, found.at - self._clock.now()))

    def step(self) -> WatchStep | Next:
        """Check or optimise if it is time, and return the step as it is kept; else return until when to wait.

        What goes wrong is a step of its own and tried again; before the first step it is raised.
        """
        last = self._last()
        version, now = self._version(), self._clock.now()
        state = _known(version, last)
        dataset, trouble = self._data()
        fingerprint = None if dataset is None else dataset.fingerprint
        is_new = fingerprint is not None and fingerprint != state.tried
        what = decide(state, self._plan.policy, now, is_new_data=is_new)
        if what.action == "wait":
            return what
        if dataset is None:
            return self._missed(state, last, trouble or DataError(f"{self._plan.data} holds no rows."), now)
        if what.action == "check":
            return self._check(dataset, version, state, last)
        return self._optimize(dataset, version, state, last, what.why)

    # checks -------------------------------------------------------------------------------------------------------
    def _check(self, dataset: Dataset, version: Version, state: WatchState, last: WatchStep | None) -> WatchStep:
        plan, program = self._plan, program_from_state(version.state)
        try:
            rows = WatchRows.of(dataset, version, self._store)
            newest = rows.newest(plan.rows, plan.min_rows, version.number, dataset)
            with ledger(self._store), tagged(version=str(version.number)):
                found = evaluate(program, newest, metric=plan.metric)
        except (DataError, MetricError, *_RESUMABLE) as error:
            return self._missed(state, last, error, self._clock.now())
        now = self._clock.now()
        after = replace(state, drift=state.drift.checked(found.mean, found.high, now))
        is_new = dataset.fingerprint != state.tried
        due = decide(after, plan.policy, now, is_new_data=is_new)
        names = ("low", "high", "rows", "fingerprint", "cost_usd")
        facts = {"score": found.mean, **{name: getattr(found, name) for name in names}, "offered": state.offered}
        return self._keep("checked", now, after, last, {**facts, "next": due.action, "why": due.why})

    def _missed(self, state: WatchState, last: WatchStep | None, error: Exception, now: float) -> WatchStep:
        """Keep that there was no score, or nothing to go on with. A watch that never worked raises instead."""
        if last is None:
            raise error
        drift = state.drift.looked(now) if state.underway is None else state.drift.failed(now)
        return self._keep("unchecked", now, replace(state, drift=drift), last, {"error": str(error)})

    # optimisations ------------------------------------------------------------------------------------------------
    def _optimize(
        self, dataset: Dataset, version: Version, state: WatchState, last: WatchStep | None, why: str
    ) -> WatchStep:
        underway = state.underway
        if underway is None:
            plan = self._plan
            settings = {"optimizer": plan.optimizer, "trials": plan.trials, "seed": plan.seed}
            run_id = self._ids.new("run")
            underway = Underway(
                run_id=run_id, why=why, rows=len(dataset), fingerprint=dataset.fingerprint, settings=settings
            )
            facts = {"run_id": run_id, "why": why, "data": dataset.source, "rows": len(dataset)}
            state = state.begun(underway)
            last = self._keep("begun", self._clock.now(), state, last, facts)
        told = {"run_id": underway.run_id, "why": underway.why}
        try:
            found, judged = self._found(dataset.first(underway.rows), version, underway)
        except InterruptedRunError:
            raise
        except (DspexError, AgentSystemError) as error:
            now = self._clock.now()
            after = state.failed(now, resumable=isinstance(error, _RESUMABLE))
            return self._keep("failed", now, after, last, {**told, "error": str(error)})
        facts = {**told, "new_version": found.version.number, "cost_usd": found.cost_usd, "gate": judged.to_json()}
        return self._ended(state, underway, last, facts, judged)

    def _found(self, dataset: Dataset, version: Version, underway: Underway) -> tuple[Optimized, Promotion]:
        """Optimise, or go on with it, and judge what came of it."""
        plan = self._plan
        if dataset.fingerprint != underway.fingerprint:
            raise DataError(
                f"The first {underway.rows} rows of {dataset.source} are not those that run {underway.run_id} began "
                "with, so it cannot be resumed."
            )
        program, rows = program_from_state(version.state), WatchRows.of(dataset, version, self._store)
        held = part(dataset, rows.held, "held out")
        if plan.held_out is not None:
            held = load_data(plan.held_out, type(program), mapping=plan.mapping)  # before anything is spent
        begun = SweepStore(self._store.database).find(underway.run_id) is not None
        found = optimize(
            program,
            part(dataset, rows.learnt, "to learn from"),
            metric=plan.metric,
            budget_usd=plan.budget_usd,
            resume=underway.run_id if begun else None,
            ids=_Given(underway.run_id),
            store=self._store,
            workers=plan.workers,
            runtime=plan.runtime,
            address=plan.address,
            progress=self._progress,
            clock=self._clock,
            **underway.settings,
        )
        judged = promote(
            self._store,
            version.program,
            found.version.number,
            label=plan.label,
            held_out=HeldOut(data=held, metric=plan.metric),
            by=plan.by,
            now=self._clock.now(),
            gate=plan.gate,
            why=f"watch: {underway.why}",
            only_judge=not plan.promotes,
        )
        return found, judged

    def _ended(
        self,
        state: WatchState,
        underway: Underway,
        last: WatchStep | None,
        facts: dict[str, Any],
        judged: Promotion,
    ) -> WatchStep:
        now, number = self._clock.now(), judged.version.number
        if judged.move is not None:
            after = WatchState(version=number, drift=Drift(optimized_at=now), tried=underway.fingerprint)
            return self._keep("promoted", now, after, last, facts)
        offered = None if judged.refusals else number
        after = state.ended(underway.fingerprint, now, offered=offered)
        return self._keep("refused" if judged.refusals else "offered", now, after, last, facts)

    # the store ----------------------------------------------------------------------------------------------------
    def _version(self) -> Version:
        program, label = self._plan.program, self._plan.label
        labels = self._store.labels(program)
        if label not in labels:
            self._store.version(program)  # a program without versions, or none at all, says so itself
            raise UnknownNameError(f"label of {program}", label, labels)
        return self._store.version(program, labels[label])

    def _last(self) -> WatchStep | None:
        steps = self._store.watch_steps(self._plan.program, self._plan.label, 1)
        return steps[0] if steps else None

    def _data(self) -> tuple[Dataset | None, DataError | None]:
        program_class = type(program_from_state(self._version().state))
        try:
            return load_data(self._plan.data, program_class, mapping=self._plan.mapping), None
        except DataError as error:
            return None, error

    def _keep(
        self, kind: StepKind, now: float, state: WatchState, last: WatchStep | None, facts: Mapping[str, Any]
    ) -> WatchStep:
        kept = WatchStep(
            program=self._plan.program,
            label=self._plan.label,
            step=1 if last is None else last.step + 1,
            at=now,
            kind=kind,
            facts={"version": state.version, **facts},
            state=state.to_json(),
        )
        self._store.keep_watch_step(kept)
        return kept


def _known(version: Version, last: WatchStep | None) -> WatchState:
    tried = (version.facts.get("data") or {}).get("fingerprint")
    fresh = WatchState(version=version.number, drift=Drift(optimized_at=version.created_at), tried=tried)
    if last is None:
        return fresh
    known = WatchState.from_json(last.state)
    if known.offered == version.number:
        return replace(fresh, tried=known.tried)
    return known if known.version == version.number else fresh
