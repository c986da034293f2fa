"""`optimize`: from data to a better program, in one line; every run journalled, resumable and kept as a version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dspex_agents import AgentFailedError, Clock, GetProgress, IdSource, MessageError, RandomIds, RunPlan, SystemClock
from dspex_agents.errors import AgentSystemError
from dspex_coordination.errors import CoordinationError
from dspex_coordination.objectives import Bound, Objective
from dspex_coordination.sweep import StopRule, SweepResult, SweepStore
from dspex_ray.agent_system import (
    COORDINATOR,
    AgentSystem,
    RuntimeName,
    check_runtime,
    check_workers,
    start_agent_system,
)
from dspex_ray.budgets.budget import Budget
from dspex_ray.calls import tagged
from dspex_ray.calls.ledger_context import ledger
from dspex_ray.configuration import checked_lm
from dspex_ray.errors import ClusterError, DspexError, InterruptedRunError, UsageError
from dspex_ray.evaluation import evaluate_rows
from dspex_ray.lm.base import LM
from dspex_ray.metrics import Metric, close_metric
from dspex_ray.optimized import Optimized, keep_best
from dspex_ray.parcel import Parcel
from dspex_ray.program_worker import Bench
from dspex_ray.programs.program import Program
from dspex_ray.programs.teaching import TeacherSource, taught_by
from dspex_ray.running_loop import refuse_running_loop
from dspex_ray.search import Search, build_sweep
from dspex_ray.search_outlook import Limits, expected_of
from dspex_ray.search_plan import SearchPlan, SearchRequest, prepare, require_run
from dspex_ray.store import Store, open_store
from dspex_ray.terminal import bar, err, search_bar
from dspex_ray.tracing import span
from dspex_ray.tracing.joining import keep_in

Progress = Callable[[Mapping[str, Any]], None]
"""Called about five times a second with the sweep's progress (see `Sweep.progress`)."""

_POLL_S = 0.2
_RUN_TIMEOUT_S = 30 * 24 * 3600.0


def optimize(  # noqa: PLR0913 - the one-line front door: all keyword-only, each with a sound default
    program: Program,
    data: Any,
    *,
    metric: str | Metric | None = None,
    objectives: Sequence[str | Objective] = (),
    bounds: Sequence[Bound] = (),
    optimizer: str = "auto",
    settings: Mapping[str, Any] | None = None,
    trials: int = 30,
    budget_usd: float | None = None,
    hard_budget_usd: float | None = None,
    stop: StopRule | None = None,
    early: Sequence[Mapping[str, Any]] = (),
    validation: Any = None,
    mapping: Mapping[str, str] | None = None,
    seed: int = 0,
    resume: str | None = None,
    fork: str | None = None,
    reproducible: bool = True,
    prompt_lm: str | LM | None = None,
    teacher: str | LM | None = None,
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
    unless `validation` gives rows of its own; the rest is what demonstrations are taken from.

    `objectives` are measures to make large or small (`score`, `cost_usd`, `latency_s`, `reliability`, a metric's own,
    or `Objective` objects); with several, `Optimized.pareto` holds the front. A result that breaks one of `bounds` is
    worse than any that keeps all. `optimizer` is a name of `OPTIMIZERS`; `auto` suits it to space, data and objectives.

    `settings` are that optimizer's own, such as `{"minibatch": 5}`; a run is resumed with those it began with.

    An optimizer of programs (`PROGRAM_OPTIMIZERS`) also writes instructions, with `prompt_lm` or else with the model
    of the program. Where it makes demonstrations of how train rows are solved, `teacher` is the model that solves them
    at first, in place of all models of the program; rows count by the same metric, and candidates are scored without.

    `trials` bounds the candidates, `budget_usd` the money, `stop` whatever else, such as `NoImprovement(10) |
    TimeSpent(3600)`: what is under way is finished. `hard_budget_usd` is a `Budget` of the run, checked before each
    call: without room left the run stops and can be resumed with a higher one. `early` are values to try first. With
    `resume`, the run of that id goes on where it stopped; with `fork`, a new run begins with what that one has found
    (to resume that one, give `fork` again). The result does not depend on the number of workers, up to 8, unless
    `reproducible` is False, which waits for no slow trial.

    What to expect (see `Outlook`) is shown first, then a bar, on a terminal and unless `progress` takes it.

    Raises UsageError (nothing tunable, unknown optimizer, setting or run, bad data, no room for a round), LMError when
    the model is out of reach, and InterruptedRunError, which says how to resume, when stopped with Ctrl-C.
    """
    refuse_running_loop("optimize(...)", "await asyncio.to_thread(optimize, ...)")
    kept, clock = store or open_store(), clock or SystemClock()
    keep_in(kept)
    for earlier in (resume, fork):
        if earlier is not None:
            require_run(earlier, kept)
    run_id = resume or (ids or RandomIds()).new("run")
    request = SearchRequest(
        program=program,
        data=data,
        metric=metric,
        objectives=objectives,
        bounds=bounds,
        optimizer=optimizer,
        trials=trials,
        budget_usd=budget_usd,
        stop=stop,
        early=early,
        fork=fork,
        validation=validation,
        mapping=mapping,
        seed=seed,
        workers=workers,
        reproducible=reproducible,
        settings=settings,
        teacher=checked_lm(teacher),
    )
    check_workers(workers)
    check_runtime(runtime)
    plan = prepare(request, run_id, kept, is_new=resume is None)
    limits = Limits.of(usd=budget_usd, hard_usd=hard_budget_usd, stop=stop)
    shown = progress is None and err.is_terminal
    if plan.is_new and (shown or limits.can_be_too_small):
        ahead = expected_of(plan, limits)
        if shown:
            err.print("\n".join(ahead.lines()), markup=False, soft_wrap=True)
    if hard_budget_usd is not None:
        kept.set_budget(Budget(scope="run", name=run_id, usd=hard_budget_usd), now=clock.now())
    if resume is not None:
        SweepStore(kept.database).request(resume, "resume", {}, clock.now())  # a paused run would stay so
    if plan.is_new:
        asyncio.run(_preflight(plan, run_id, kept, request.teacher))
    bench = Bench(
        train=plan.train.examples,
        validation=plan.validation.examples,
        metric=plan.metric,
        prompt_lm=checked_lm(prompt_lm),
        teacher=request.teacher,
    )
    try:
        with (
            bar("optimize") as tell,
            start_agent_system(
                program, workers=workers, runtime=runtime, store=kept, bench=bench, address=address
            ) as system,
            span("step", f"optimize {type(program).__name__}", run_id=run_id, program=program.path),
        ):
            result = asyncio.run(_drive(system, plan.search, search_bar(tell) if shown else progress))
    except KeyboardInterrupt:
        if SweepStore(kept.database).find(run_id) is None:
            raise  # it had not begun: there is nothing to resume
        raise InterruptedRunError(
            f"Run {run_id} was interrupted; all its recorded rows are kept. Resume it with resume={run_id!r}.", run_id
        ) from None
    return keep_best(plan, result, kept, clock)


async def _preflight(plan: SearchPlan, run_id: str, store: Store, teacher: str | LM | None) -> None:
    """Answer one row before any agent starts: a wrong key, an unreachable model or a broken metric shows at once.

    Copies are asked, as in the agents: they close the connections of this loop, which ends, and no client of a caller.
    """
    program = Parcel.of(plan.program).open()
    lent = teacher if teacher is None or isinstance(teacher, str) else Parcel.of(teacher).open()
    source = None if lent is None else TeacherSource.of(program, lent)
    with ledger(store), tagged(run_id=run_id):
        try:
            await evaluate_rows(program, plan.validation.examples[:1], plan.metric)
            if source is not None:
                await evaluate_rows(taught_by(program, source), plan.train.examples[:1], plan.metric)
        finally:
            await program.aclose()
            await close_metric(plan.metric)
            if source is not None:
                await source.aclose()
            if lent is not None and not isinstance(lent, str):
                await lent.aclose()


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
        state = await system.system.aask(COORDINATOR, GetProgress(run_id), control=True, timeout_s=2.0)
    except MessageError:
        return  # the coordinator is being restarted; the next look comes soon
    if state:  # there is nothing to show of a run that has not begun
        progress(state)


def _told(error: AgentFailedError) -> Exception:
    cause = error.cause
    if isinstance(cause, CoordinationError):
        return UsageError(str(cause)) if "Resume" in type(cause).__name__ else DspexError(str(cause))
    return cause if isinstance(cause, DspexError) else DspexError(str(error))
