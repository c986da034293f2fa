"""From a request to a checked search: the space, the split data, the metric, and what identifies the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import CoordinationError, ResumeError, UnknownOptimizerError, UnknownSweepError
from dspex_coordination.objectives import (
    COST,
    LATENCY,
    PROMPT_TOKENS,
    RELIABILITY,
    SCORE,
    SURE_SCORE,
    TAIL_LATENCY,
    Bound,
    Objective,
)
from dspex_coordination.optimizers import OPTIMIZERS, Chosen, choose, optimizer_factory
from dspex_coordination.optimizers.base import SearchContext
from dspex_coordination.space import Space
from dspex_coordination.sweep import StopRule, SweepStore, forked
from dspex_coordination.sweep.identity import configuration, require_same
from dspex_ray.configuration import chosen_lm
from dspex_ray.data import Dataset, leakage, load_data
from dspex_ray.demos import DemoPool
from dspex_ray.errors import DataError, NothingToTuneError, UnknownNameError, UsageError
from dspex_ray.lm.base import LM
from dspex_ray.metrics import Metric, default_metric, resolve_metric
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS
from dspex_ray.program_optimizers.sketch import ProgramSketch, told_space
from dspex_ray.programs.program import Program
from dspex_ray.search import Search, require_tunable
from dspex_ray.search_choice import program_optimizer_for
from dspex_ray.search_settings import checked_settings, require_taught
from dspex_ray.store import Store

_MAX_VALIDATION = 500
_FEW_WORKERS = 8  # up to so many the number of open trials, and so the result, is always the same
_READY = {one.name: one for one in (SCORE, SURE_SCORE, COST, LATENCY, TAIL_LATENCY, PROMPT_TOKENS, RELIABILITY)}


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What a caller asks `optimize` for; see there."""

    program: Program
    data: Any
    metric: str | Metric | None = None
    objectives: Sequence[str | Objective] = ()
    bounds: Sequence[Bound] = ()
    optimizer: str = "auto"
    trials: int = 30
    budget_usd: float | None = None
    stop: StopRule | None = None
    early: Sequence[Mapping[str, Any]] = ()
    fork: str | None = None
    validation: Any = None
    mapping: Mapping[str, str] | None = None
    seed: int = 0
    workers: int | None = None
    reproducible: bool = True
    settings: Mapping[str, Any] | None = None
    teacher: str | LM | None = None


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A checked request for an optimisation: all that can be wrong with it has been found before anything runs."""

    program: Program
    train: Dataset
    validation: Dataset
    metric: Metric
    search: Search
    facts: Mapping[str, Any]
    is_new: bool
    reason: str = ""
    """Why this optimizer, where it was not named."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search makes large or small."""
        return self.search.context.objectives


def prepare(request: SearchRequest, run_id: str, store: Store, *, is_new: bool) -> SearchPlan:
    """Check the request and split the data. Raises UsageError for whatever is wrong with it."""
    settings = checked_settings(request.optimizer, request.settings)
    suited = _suited(request, None if is_new else _recorded_optimizer(run_id, store))
    request = replace(request, optimizer=suited.name)
    program, space = request.program, checked_space(request)
    dataset, train, held = _data(request)
    metric = default_metric(type(program), dataset) if request.metric is None else resolve_metric(request.metric)
    context = _context(request, space, train, held, store)
    chosen = _known(suited, context)
    name = chosen.name
    described = {"model": _model_name(program.lm_name), "metric": _metric_name(metric)}
    wishes: dict[str, Any] = {"settings": settings} if settings else {}
    if request.teacher is not None:
        require_taught(name)
        wishes["teacher"] = _model_name(request.teacher)
    search = Search(
        run_id=run_id,
        store=store,
        optimizer=name,
        context=context,
        fingerprint=json.dumps({**_identity(program, train, held), **described, **wishes}),
        budget_usd=request.budget_usd,
        stop=request.stop,
        workers=request.workers,
        max_pending_trials=_pending(name, request.workers),
        reproducible=request.reproducible,
        sketch=_sketch(request, train) if name in PROGRAM_OPTIMIZERS else None,
        settings=settings,
    )
    if is_new:
        require_tunable(search)
    else:
        _require_same_search(search)
    source = {"source": dataset.source, "rows": len(dataset), "fingerprint": dataset.fingerprint}
    facts = {
        "optimizer": name,
        **wishes,
        **described,
        "seed": request.seed,
        "data": source,
        "objectives": [one.to_json() for one in context.objectives],
        "forked_from": request.fork,
    }
    return SearchPlan(
        program=program,
        train=train,
        validation=held,
        metric=metric,
        search=search,
        facts=facts,
        is_new=is_new,
        reason=chosen.reason,
    )


def _pending(optimizer: str, workers: int | None) -> int | None:
    """Return how many trials may be open at once, None for what a sweep does by itself.

    Optimizers of programs ask for few rows at a time, so that many workers have enough only with a trial for each.
    """
    return workers if optimizer in PROGRAM_OPTIMIZERS and workers is not None and workers > _FEW_WORKERS else None


def _sketch(request: SearchRequest, train: Dataset) -> ProgramSketch:
    return ProgramSketch.of(request.program, train.examples, has_teacher=request.teacher is not None)


def _context(request: SearchRequest, space: Space, train: Dataset, held: Dataset, store: Store) -> SearchContext:
    pool = DemoPool(train.examples)
    pools = request.program.with_demo_pool(pool).demo_pools
    space = space.bind_each({name: (one.ids, one.labels) for name, one in pools.items()})
    objectives = tuple(one if isinstance(one, Objective) else objective_named(one) for one in request.objectives)
    try:
        context = SearchContext(
            space,
            request.seed,
            request.trials,
            pool.ids,
            pool.labels,
            len(train),
            len(held),
            objectives=objectives or (SCORE,),
            bounds=tuple(request.bounds),
            early=_early(request, space),
        )
        return context if request.fork is None else forked(context, SweepStore(store.database), request.fork)
    except CoordinationError as error:
        raise UsageError(str(error)) from error


def _early(request: SearchRequest, space: Space) -> tuple[Candidate, ...]:
    """Return the values to try first: those the program has, where they are not the defaults, then those given."""
    program = request.program
    texts = {name: space.default().values[name] for name in space.names if name not in program.values}
    known = space.default()
    given = [_carried(program, space), *(program.with_values(values).values for values in request.early)]
    return tuple(one for values in given if (one := Candidate({**texts, **values})) != known)


def _carried(program: Program, space: Space) -> dict[str, Any]:
    """Return the program's values; demonstrations that the data of this search does not hold stand in them whole."""
    values = dict(program.values)
    for name, pool in program.demo_pools.items():
        known, ids = frozenset(space.demos[name].pool or ()), values[name].get("ids", ())
        if any(one not in known for one in ids):
            shown = [pool[one] for one in ids]
            demos = [{"input": one.input, "output": one.output, "of": one.content_id} for one in shown]
            values[name] = {"select": "given", "demos": demos}
    return values


def checked_space(request: SearchRequest) -> Space:
    """Return the program's space. Raises UsageError for a request that cannot be searched whatever the data."""
    program = request.program
    if not isinstance(program, Program):
        raise UsageError(f"optimize needs a program instance, such as Route(), got {program!r}.")
    if request.trials < 1:
        raise UsageError(f"trials must be at least 1, got {request.trials}.")
    if request.budget_usd is not None and not request.budget_usd > 0:
        raise UsageError(f"budget_usd must be above 0, got {request.budget_usd}.")
    space = told_space(program) if request.optimizer in PROGRAM_OPTIMIZERS else program.space()
    if not len(space):
        raise NothingToTuneError(
            f"{program.path} declares no variable, so there is nothing to optimise. Add one, such as "
            f"`demos = dspex.Demos(max=16)` or `temperature = dspex.Float(0.0, 1.5, default=0.2)`."
        )
    return space


def _data(request: SearchRequest) -> tuple[Dataset, Dataset, Dataset]:
    """Return all given rows, those to learn from, and those to choose by."""
    dataset = load_data(request.data, type(request.program), mapping=request.mapping)
    if request.validation is None:
        return dataset, *dataset.split(request.seed, max_validation=_MAX_VALIDATION)
    held = load_data(request.validation, type(request.program), mapping=request.mapping)
    shared = leakage(dataset, held)
    if shared.pairs:
        named = ", ".join(str(row + 1) for row, _ in shared.pairs[:5])
        raise DataError(
            f"{held.source}: {len(shared.pairs)} of {shared.rows} rows have an input that is in {dataset.source} too "
            f"(first rows {named}), so that scores on them say little about new inputs. Leave them out of one side, "
            "such as by `load_data(...).without(validation)`, or give no validation: then a part is held out."
        )
    return dataset, dataset, held


def _identity(program: Program, train: Dataset, held: Dataset) -> dict[str, Any]:
    return {
        "program": program.path,
        "schema": [program.Input.model_json_schema(), program.Output.model_json_schema(), program.instruction],
        "train": train.fingerprint,
        "validation": held.fingerprint,
    }


def objective_named(name: str) -> Objective:
    """Return the objective of a measure's name. A ready one has its own direction; others are made large.

    Raises UsageError for a name that is none.
    """
    try:
        return _READY.get(name) or Objective(name)
    except CoordinationError as error:
        raise UsageError(str(error)) from error


def _suited(request: SearchRequest, recorded: str | None) -> Chosen:
    """Return for `auto` what a recorded run began with, else what suits the program; `auto` where values are chosen."""
    name = recorded if request.optimizer == "auto" and recorded is not None else request.optimizer
    if name != "auto" or not isinstance(request.program, Program):
        return Chosen(name, "")
    has_teacher = request.teacher is not None
    return program_optimizer_for(request.program, request.trials, has_teacher=has_teacher) or Chosen(name, "")


def _known(suited: Chosen, context: SearchContext) -> Chosen:
    """Return the optimizer to use. Raises UnknownNameError with near matches."""
    if suited.name == "auto":
        return choose(context)
    if suited.name not in PROGRAM_OPTIMIZERS:
        try:
            optimizer_factory(suited.name)
        except UnknownOptimizerError as error:
            raise UnknownNameError("optimizer", suited.name, [*OPTIMIZERS, *PROGRAM_OPTIMIZERS]) from error
    return suited


def _recorded_optimizer(run_id: str, store: Store) -> str | None:
    recorded: str | None = SweepStore(store.database).load(run_id).config.get("optimizer")
    return recorded


def require_run(run_id: str, store: Store) -> None:
    """Raise UsageError with near matches if the store has no run of this id."""
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


def _model_name(own: str | LM | None) -> str:
    lm = chosen_lm(own)
    return lm if isinstance(lm, str) else lm.model


def _metric_name(metric: Metric) -> str:
    """Return what a metric is called in every process: an object whose repr says only where it lies, by its class."""
    named = getattr(metric, "__qualname__", None)
    if named:
        return f"{metric.__module__}.{named}"
    kind = type(metric)
    return f"{kind.__module__}.{kind.__qualname__}" if repr(metric) == object.__repr__(metric) else repr(metric)
