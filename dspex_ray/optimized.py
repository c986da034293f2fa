"""What an optimisation found: the best program, its scores, and the version it is kept as."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dspex_agents import Clock
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives import SCORE, Objective, knee, pick, within
from dspex_coordination.sweep import SweepResult, TrialSummary
from dspex_ray.agent_system import AgentSystem, start_agent_system
from dspex_ray.errors import DspexError, UsageError
from dspex_ray.intervals import interval
from dspex_ray.learning_report.report import write_report
from dspex_ray.programs.program import Program
from dspex_ray.search_plan import SearchPlan
from dspex_ray.store import Store, Version
from dspex_ray.trial_versions import TrialVersions

if TYPE_CHECKING:
    from dspex_ray.serving.endpoint import Endpoint


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """What an optimisation found. `score` and its 95 % interval are the best candidate's on the validation rows.

    `baseline` is the untuned program's score on the same rows, None if it could not be scored. `history` holds every
    trial, `pareto` those that no other beats in all `objectives`, and `versions` what is kept of these, `version` last:
    up to 20, spread evenly over a larger front. `stopped_by` says which budget or rule ended the search, None if there
    was nothing left to try. Agents and endpoints started from here record their calls in `store`
    unless told otherwise.
    """

    program: Program
    score: float
    low: float
    high: float
    baseline: float | None
    version: Version
    cost_usd: float
    run_id: str
    history: tuple[TrialSummary, ...] = field(repr=False)
    store: Store = field(repr=False)
    objectives: tuple[Objective, ...] = (SCORE,)
    pareto: tuple[TrialSummary, ...] = field(default=(), repr=False)
    versions: tuple[Version, ...] = field(default=(), repr=False)
    stopped_by: str | None = None
    plan: SearchPlan | None = field(default=None, repr=False, compare=False)
    trial_versions: TrialVersions | None = field(default=None, repr=False, compare=False)

    @property
    def gap(self) -> float | None:
        """The score on rows learnt from minus that on validation rows; None if the best was scored on none of those."""
        gap: float | None = self.version.facts.get("gap")
        return gap

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to be careful about: a large gap, copied training inputs, scores that are all equal, few rows."""
        return tuple(self.version.facts.get("warnings", ()))

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write what was learnt, and at what cost, as one HTML file that works offline; return its path.

        Raises UsageError for a place that cannot be written.
        """
        plan = self.plan
        if plan is None:
            return write_report(self.store, self.run_id, path)
        train, validation = plan.train.examples, plan.validation.examples
        return write_report(self.store, self.run_id, path, train=train, validation=validation)

    def pick(self, preference: str | None = None, **limits: float) -> Program:
        """Return the program of one result of the front; `version_of` has its version. See `pick_trial`."""
        return self.program_of(self.pick_trial(preference, **limits))

    def pick_trial(self, preference: str | None = None, **limits: float) -> TrialSummary:
        """Return one result of the front.

        Without arguments that at the knee; with `quality`, `balanced`, `cheap` or `fast` the one of the greatest
        weighted gain; with limits the best score whose measures are at most these, such as `cost_per_1k=0.20` or
        `prompt_tokens=400`. Raises UsageError for an unknown preference or measure, or where no result keeps the
        limits.
        """
        if preference is not None and limits:
            raise UsageError("pick() takes a preference or limits, not both.")
        try:
            return _picked(self.pareto, self.objectives, preference, limits)
        except OptimizerError as error:
            raise UsageError(str(error)) from error

    def program_of(self, trial: TrialSummary) -> Program:
        """Return the program of any trial of `history`, with the demonstrations it needs."""
        return self._made().program_of(trial)

    def version_of(self, chosen: Program | TrialSummary) -> Version:
        """Return the version of a picked program, or of any trial of `history` that has a score on validation rows.

        One that is not among `versions` is kept now. Raises UsageError for a program that is not of the front.
        """
        made = self._made()
        if isinstance(chosen, Program):
            state = chosen.state()
            known = (trial for trial in self.pareto if made.program_of(trial).state() == state)
            trial = next(known, None)
            if trial is None:
                raise UsageError("This program is none of the front; pick() and program_of() return those that are.")
            return made.keep(trial)
        return made.keep(chosen)

    def _made(self) -> TrialVersions:
        if self.trial_versions is None:
            raise UsageError("This result was not made by optimize(), so it cannot build the program of a trial.")
        return self.trial_versions

    def to_agent_system(self, **options: Any) -> AgentSystem:
        """Start the optimised program's agents; see `start_agent_system` for the options."""
        return start_agent_system(self.program, **{"version": str(self.version.number), "store": self.store, **options})

    def deploy(self, **options: Any) -> Endpoint:
        """Serve the optimised program over HTTP; see `dspex_ray.serving.deployment.deploy` for the options."""
        return self.program.deploy(**{"version": str(self.version.number), "store": self.store, **options})

    def to_json(self) -> dict[str, Any]:
        """Return the figures and the version, without the trials."""
        return {
            "run_id": self.run_id,
            "score": self.score,
            "low": self.low,
            "high": self.high,
            "baseline": self.baseline,
            "train": self.version.facts.get("train"),
            "gap": self.version.facts.get("gap"),
            "expected": self.version.facts.get("expected"),
            "warnings": list(self.warnings),
            "cost_usd": self.cost_usd,
            "trials": len(self.history),
            "failed_trials": sum(trial.failed is not None for trial in self.history),
            "objectives": [one.to_json() for one in self.objectives],
            "pareto": [
                {"trial": trial.number, "measures": dict(trial.measures), "values": trial.candidate.to_json()}
                for trial in self.pareto
            ],
            "versions": [{"version": one.number, "trial": one.facts.get("trial")} for one in self.versions],
            "stopped_by": self.stopped_by,
            "version": self.version.number,
            "program": self.version.program,
            "values": dict(self.program.values),
        }


def keep_best(plan: SearchPlan, result: SweepResult, store: Store, clock: Clock) -> Optimized:
    """Save the programs of the front as versions. Raises DspexError if no candidate could be scored."""
    if result.best is None or result.best.mean is None:
        reasons = sorted({trial.failed for trial in result.trials if trial.failed})
        raise DspexError(
            f"No candidate of run {result.run_id} could be scored: {'; '.join(reasons[:3]) or 'no trial finished'}."
        )
    best, baseline, score = result.best, result.trials[0], result.best.mean
    made = TrialVersions(plan, result, store, clock)
    versions = made.keep_front(best)
    low, high = interval([one or 0.0 for one in best.scores])
    return Optimized(
        program=made.program_of(best),
        score=score,
        low=low,
        high=high,
        baseline=baseline.mean,
        version=versions[-1],
        cost_usd=made.spent_usd,
        run_id=result.run_id,
        history=result.trials,
        store=store,
        objectives=plan.objectives,
        pareto=result.front,
        versions=versions,
        stopped_by=result.stopped_by,
        plan=plan,
        trial_versions=made,
    )


def _picked(
    front: Sequence[TrialSummary],
    objectives: Sequence[Objective],
    preference: str | None,
    limits: Mapping[str, float],
) -> TrialSummary:
    if limits:
        return within(front, limits)
    return knee(front, objectives) if preference is None else pick(front, objectives, preference)
