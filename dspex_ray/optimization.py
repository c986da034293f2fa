"""`optimize`: from data to a better program, in one line; every run journalled, resumable and kept as a version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dspex_agents import AgentFailedError, Clock, GetProgress, IdSource, MessageError, RandomIds, RunPlan, SystemClock
from dspex_agents.errors import AgentSystemError
from dspex_coordination.errors import CoordinationError, ResumeError, UnknownSweepError
from dspex_coordination.optimizers import OPTIMIZERS
from dspex_coordination.optimizers.base import SearchContext
from dspex_coordination.sweep import SweepResult, SweepStore, TrialSummary
from dspex_coordination.sweep.identity import configuration, require_same
from dspex_ray.agent_system import (
    COORDINATOR,
    AgentSystem,
    RuntimeName,
    check_runtime,
    check_workers,
    start_agent_system,
)
from dspex_ray.calls import recording, tagged
from dspex_ray.configuration import chosen_lm
from dspex_ray.data import Dataset, load_data
from dspex_ray.demos import DemoPool
from dspex_ray.errors import (
    ClusterError,
    DspexError,
    InterruptedRunError,
    NothingToTuneError,
    UnknownNameError,
    UsageError,
)
from dspex_ray.evaluation import evaluate_rows
from dspex_ray.intervals import interval
from dspex_ray.metrics import Metric, default_metric, resolve_metric
from dspex_ray.program import Program, refuse_running_loop
from dspex_ray.program_worker import Bench
from dspex_ray.search import Search, build_sweep
from dspex_ray.store import Store, Version, open_store

Progress = Callable[[Mapping[str, Any]], None]
"""Called about five times a second with the sweep's progress (see `Sweep.progress`)."""

_POLL_S = 0.2
_RUN_TIMEOUT_S = 30 * 24 * 3600.0
_MAX_VALIDATION = 500


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """What an optimisation found. `score` and its 95 % interval are the best candidate's on the validation rows.

    `baseline` is the untuned program's score on the same rows. `history` holds every trial.
    """

    program: Program
    score: float
    low: float
    high: float
    baseline: float
    version: Version
    cost_usd: float
    run_id: str
    history: tuple[TrialSummary, ...] = field(repr=False)

    def to_agent_system(self, **options: Any) -> AgentSystem:
        """Start the optimised program's agents; see `start_agent_system` for the options."""
        return start_agent_system(self.program, version=str(self.version.number), **options)

    def deploy(self, **options: Any) -> Any:
        """Serve the optimised program over HTTP; see `dspex_ray.serving.deployment.deploy` for the options."""
        return self.program.deploy(version=str(self.version.number), **options)

    def to_json(self) -> dict[str, Any]:
        """Return the figures and the version, without the trials."""
        return {
            "run_id": self.run_id,
            "score": self.score,
            "low": self.low,
            "high": self.high,
            "baseline": self.baseline,
            "cost_usd": self.cost_usd,
            "trials": len(self.history),
            "failed_trials": sum(trial.failed is not None for trial in self.history),
            "version": self.version.number,
            "program": self.version.program,
            "values": dict(self.program.values),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked request for an optimisation: all that can be wrong with it has been found before anything runs."""

    program: Program
    train: Dataset
    validation: Dataset
    metric: Metric
    search: Search
    facts: Mapping[str, Any]
    is_new: bool


def optimize(  # noqa: PLR0913 - the one-line front door: all keyword-only, each with a sound default
    program: Program,
    data: Any,
    *,
    metric: str | Metric | None = None,
    optimizer: str = "auto",
    trials: int = 30,
    budget_usd: float | None = None,
    validation: Any = None,
    mapping: Mapping[str, str] | None = None,
    seed: int = 0,
    resume: str | None = None,
    store: Store | None = None,
    workers: int = 2,
    runtime: RuntimeName = "ray",
    address: str | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    ids: IdSource | None = None,
) -> Optimized:
    """Search for better values of the program's variables on `data` and keep the best as a new version.

    `data` is a path, a list of dicts or a data frame; a fifth of it (at most 500 rows) is held out to choose by,
    unless `validation` gives rows of its own; the rest is what demonstrations are taken from. `trials` bounds the
    candidates, `budget_usd` the money. With `resume`, the run of that id goes on where it stopped.

    Raises UsageError (nothing tunable, unknown optimizer or run, bad data), LMError when the model is out of reach, and
    InterruptedRunError, which says how to resume, when stopped with Ctrl-C.
    """
    refuse_running_loop("optimize(...)", "await asyncio.to_thread(optimize, ...)")
    kept, clock = store or open_store(), clock or SystemClock()
    if resume is not None:
        _require_run(resume, kept)
    run_id = resume or (ids or RandomIds()).new("run")
    plan = prepare(
        program,
        data,
        metric=metric,
        optimizer=optimizer,
        trials=trials,
        budget_usd=budget_usd,
        validation=validation,
        mapping=mapping,
        seed=seed,
        run_id=run_id,
        is_new=resume is None,
        store=kept,
        workers=workers,
        runtime=runtime,
    )
    if plan.is_new:
        asyncio.run(_preflight(plan, run_id, kept))
    bench = Bench(train=plan.train.examples, validation=plan.validation.examples, metric=plan.metric)
    try:
        with start_agent_system(
            program, workers=workers, runtime=runtime, store=kept, bench=bench, address=address
        ) as system:
            result = asyncio.run(_drive(system, plan.search, progress))
    except KeyboardInterrupt:
        if SweepStore(kept.database).find(run_id) is None:
            raise  # it had not begun: there is nothing to resume
        raise InterruptedRunError(
            f"Run {run_id} was interrupted; all its recorded rows are kept. Resume it with resume={run_id!r}.", run_id
        ) from None
    return _keep(plan, result, kept, clock)


def prepare(  # noqa: PLR0913 - see `optimize`
    program: Program,
    data: Any,
    *,
    metric: str | Metric | None,
    optimizer: str,
    trials: int,
    budget_usd: float | None,
    validation: Any,
    mapping: Mapping[str, str] | None,
    seed: int,
    run_id: str,
    is_new: bool,
    store: Store,
    workers: int,
    runtime: str,
) -> Plan:
    """Check the request and split the data. Raises UsageError for whatever is wrong with it."""
    if not isinstance(program, Program):
        raise UsageError(f"optimize needs a program instance, such as Route(), got {program!r}.")
    space = program.space()
    if not len(space):
        raise NothingToTuneError(
            f"{program.path} declares no variable, so there is nothing to optimise. Add one, such as "
            f"`demos = dspex.Demos(max=16)` or `temperature = dspex.Float(0.0, 1.5, default=0.2)`."
        )
    name = choose_optimizer(optimizer, has_demos=bool(space.demos))
    check_workers(workers)
    check_runtime(runtime)
    if trials < 1:
        raise UsageError(f"trials must be at least 1, got {trials}.")
    if budget_usd is not None and not budget_usd > 0:
        raise UsageError(f"budget_usd must be above 0, got {budget_usd}.")
    dataset = load_data(data, type(program), mapping=mapping)
    chosen = default_metric(type(program), dataset) if metric is None else resolve_metric(metric)
    if validation is None:
        train, held = dataset.split(seed, max_validation=_MAX_VALIDATION)
    else:
        train, held = dataset, load_data(validation, type(program), mapping=mapping)
    pool = DemoPool(train.examples)
    bound = space.bind(pool.ids, pool.labels)
    context = SearchContext(bound, seed, trials, pool.ids, pool.labels, len(train), len(held))
    fingerprint = {
        "program": program.path,
        "schema": [program.Input.model_json_schema(), program.Output.model_json_schema(), program.instruction],
        "model": _model_name(program),
        "metric": _metric_name(chosen),
        "train": train.fingerprint,
        "validation": held.fingerprint,
    }
    search = Search(
        run_id=run_id,
        store=store,
        optimizer=name,
        context=context,
        fingerprint=json.dumps(fingerprint),
        budget_usd=budget_usd,
    )
    if not is_new:
        _require_same_search(search)
    facts = {
        "optimizer": name,
        "metric": fingerprint["metric"],
        "model": fingerprint["model"],
        "seed": seed,
        "data": {"source": dataset.source, "rows": len(dataset), "fingerprint": dataset.fingerprint},
    }
    return Plan(program=program, train=train, validation=held, metric=chosen, search=search, facts=facts, is_new=is_new)


def choose_optimizer(name: str, *, has_demos: bool) -> str:
    """Return the optimizer of that name; `auto` means demonstrations where there are any to choose, else random."""
    if name == "auto":
        return "bootstrap" if has_demos else "random"
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, ["auto", *OPTIMIZERS])
    return name


def _require_run(run_id: str, store: Store) -> None:
    try:
        SweepStore(store.database).load(run_id)
    except UnknownSweepError as error:
        raise UsageError(str(error)) from error


def _require_same_search(search: Search) -> None:
    """Raise UsageError, before any agent starts, if the recorded run searched something else."""
    record = SweepStore(search.store.database).load(search.run_id)
    try:
        require_same(record, json.loads(search.fingerprint), configuration(search.context, search.optimizer))
    except ResumeError as error:
        raise UsageError(str(error)) from error


async def _preflight(plan: Plan, run_id: str, store: Store) -> None:
    """Answer one row before any agent starts: a wrong key, an unreachable model or a broken metric shows at once."""
    with recording() as log, tagged(run_id=run_id):
        try:
            await evaluate_rows(plan.program, plan.validation.examples[:1], plan.metric)
        finally:
            await plan.program.aclose()
            store.record_calls([record.as_row() for record in log.records])


async def _drive(system: AgentSystem, search: Search, progress: Progress | None) -> SweepResult:
    order = RunPlan(search.run_id, build_sweep, {"search": search})
    # safe to send again to a restarted coordinator: the sweep goes on from its journal
    running = asyncio.ensure_future(system.system.aask(COORDINATOR, order, timeout_s=_RUN_TIMEOUT_S, retry_safe=True))
    try:
        while not running.done():
            await asyncio.wait((running,), timeout=_POLL_S)
            if progress is not None and not running.done():
                await _show(system, search.run_id, progress)
        result: SweepResult = running.result()
    except AgentFailedError as error:
        raise _told(error) from error
    except AgentSystemError as error:
        raise ClusterError(f"Run {search.run_id} stopped: {error} Resume it with resume={search.run_id!r}.") from error
    finally:
        running.cancel()
    return result


async def _show(system: AgentSystem, run_id: str, progress: Progress) -> None:
    try:
        progress(await system.system.aask(COORDINATOR, GetProgress(run_id), control=True, timeout_s=2.0))
    except MessageError:
        return  # not begun yet, or the coordinator is being restarted; the next look comes soon


def _told(error: AgentFailedError) -> Exception:
    cause = error.cause
    if isinstance(cause, CoordinationError):
        return UsageError(str(cause)) if "Resume" in type(cause).__name__ else DspexError(str(cause))
    return cause if isinstance(cause, DspexError) else DspexError(str(error))


def _keep(plan: Plan, result: SweepResult, store: Store, clock: Clock) -> Optimized:
    if result.best is None or result.best.mean is None:
        reasons = sorted({trial.failed for trial in result.trials if trial.failed})
        raise DspexError(
            f"No candidate of run {result.run_id} could be scored: {'; '.join(reasons[:3]) or 'no trial finished'}."
        )
    best, baseline, score = result.best, result.trials[0], result.best.mean
    program = _built(plan, best)
    low, high = interval([one or 0.0 for one in best.scores])
    spent = store.totals(run_id=result.run_id).cost_usd
    facts = {
        **plan.facts,
        "score": score,
        "low": low,
        "high": high,
        "baseline": baseline.mean,
        "rows": len(best.scores),
        "trials": len(result.trials),
        "status": result.status,
        "cost_usd": spent,
    }
    version = store.save_version(program.state(), facts, now=clock.now(), run_id=result.run_id)
    return Optimized(
        program=program,
        score=score,
        low=low,
        high=high,
        baseline=baseline.mean or 0.0,
        version=version,
        cost_usd=spent,
        run_id=result.run_id,
        history=result.trials,
    )


def _built(plan: Plan, best: TrialSummary) -> Program:
    """Return the program of a candidate with the demonstrations it needs and no others."""
    program = plan.program.with_values(best.candidate.to_json())
    chosen = [program.values[name] for name in program.space().names if name in program.space().demos]
    if any(value["select"] == "nearest" for value in chosen):
        return program.with_demo_pool(DemoPool(plan.train.examples))
    ids = dict.fromkeys(id_ for value in chosen for id_ in value["ids"])
    return program.with_demo_pool(DemoPool(plan.train.examples).subset(list(ids)))


def _model_name(program: Program) -> str:
    lm = chosen_lm(program.lm_name)
    return lm if isinstance(lm, str) else lm.model


def _metric_name(metric: Metric) -> str:
    named = getattr(metric, "__qualname__", None)
    return f"{metric.__module__}.{named}" if named else repr(metric)
