"""What is watched, how often, and what becomes of a version that drifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dspex_coordination.errors import UnknownOptimizerError
from dspex_coordination.optimizers import OPTIMIZERS, optimizer_factory
from dspex_ray.agent_system import RuntimeName, check_runtime, check_workers
from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.metrics import Metric
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.search_plan import SearchRequest, checked_space
from dspex_ray.store import Version
from dspex_ray.versions.drift import DriftPolicy
from dspex_ray.versions.gate import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """What is watched and how. `data` is a path that is read anew for each step; new rows stand at its end.

    A check scores the newest `rows` that the version has not seen, at least `min_rows`. The gate judges by `held_out`
    or else by a third of those rows, which is then never learnt from. `budget_usd` is that of one optimisation.
    """

    program: str
    data: Any
    label: str = "production"
    policy: DriftPolicy = field(default_factory=DriftPolicy)
    metric: str | Metric | None = None
    mapping: Mapping[str, str] | None = None
    held_out: Any = None
    rows: int = 200
    min_rows: int = 30
    optimizer: str = "auto"
    trials: int = 30
    budget_usd: float | None = None
    seed: int = 0
    workers: int = 2
    runtime: RuntimeName = "ray"
    address: str | None = None
    gate: Gate = field(default_factory=lambda: Gate(min_gain=0.01))
    promotes: bool = False
    by: str = "watch"

    def __post_init__(self) -> None:
        if not 1 <= self.min_rows <= self.rows:
            raise UsageError(f"A check takes at least 1 row and at most {self.rows}, got min_rows={self.min_rows}.")


def require_search(plan: WatchPlan, version: Version) -> None:
    """Raise UsageError for what no optimisation could begin with, before it is needed."""
    check_runtime(plan.runtime)
    check_workers(plan.workers)
    program = program_from_state(version.state)
    checked_space(
        SearchRequest(
            program=program, data=None, optimizer=plan.optimizer, trials=plan.trials, budget_usd=plan.budget_usd
        )
    )
    if plan.optimizer == "auto" or plan.optimizer in PROGRAM_OPTIMIZERS:
        return
    try:
        optimizer_factory(plan.optimizer)
    except UnknownOptimizerError as error:
        raise UnknownNameError("optimizer", plan.optimizer, [*OPTIMIZERS, *PROGRAM_OPTIMIZERS]) from error
