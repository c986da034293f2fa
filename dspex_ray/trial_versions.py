"""`TrialVersions`: candidates of one search as programs, and as versions in the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from dspex_agents import Clock
from dspex_coordination.objectives.comparison import gains
from dspex_coordination.objectives.crowding import spread
from dspex_coordination.sweep import SweepResult, TrialSummary
from dspex_ray.demos import DemoPool
from dspex_ray.errors import UsageError
from dspex_ray.intervals import interval
from dspex_ray.learning_report.cautions import Findings, cautions, copied_instructions
from dspex_ray.learning_report.changes import instructions_of
from dspex_ray.learning_report.failures import failure_cautions
from dspex_ray.learning_report.teachers import teacher_cautions
from dspex_ray.lm.prices import price_table
from dspex_ray.programs.program import Program
from dspex_ray.search_plan import SearchPlan
from dspex_ray.store import Store, Version
from dspex_ray.versions.expected import expected_figures
from dspex_ray.versions.origin import gap_unknown, interface_of, kept_splits, parent_of, train_figures

MOST_KEPT = 20
"""Members of a front that are kept as versions; of a larger one so many, spread evenly over it."""


class TrialVersions:
    """Builds and keeps the programs of a search's trials. All versions say what the whole search cost."""

    def __init__(self, plan: SearchPlan, result: SweepResult, store: Store, clock: Clock) -> None:
        self._plan, self._result, self._store, self._clock = plan, result, store, clock
        totals = store.totals(run_id=result.run_id)
        self.spent_usd = totals.cost_usd
        self._parent = parent_of(plan.program, store)
        self._alike = {
            **plan.facts,
            "splits": kept_splits(store, train=plan.train, validation=plan.validation),
            "baseline": result.trials[0].mean,
            "trials": len(result.trials),
            "status": result.status,
            "stopped_by": result.stopped_by,
            "left_out": len(result.isolated),
            "cost_usd": totals.cost_usd,
            "calls": totals.calls,
            "prices": str(price_table()),
        }
        self._kept: dict[int, Version] = {}

    def program_of(self, trial: TrialSummary) -> Program:
        """Return the program of a candidate with the demonstrations it needs and no others."""
        plan = self._plan
        pool = DemoPool(plan.train.examples)
        program = plan.program.with_demo_pool(pool).with_values(trial.candidate.to_json())
        chosen = [program.values[name] for name, one in program.demo_pools.items() if one is pool]
        if any(value["select"] == "nearest" for value in chosen):
            return program
        ids = dict.fromkeys(id_ for value in chosen for id_ in value.get("ids", ()))
        return program.with_demo_pool(pool.subset(list(ids)))

    def keep(self, trial: TrialSummary) -> Version:
        """Save a candidate's program as a version, once, and return that. Raises UsageError for one without a score."""
        known = self._kept.get(trial.number)
        if known is not None:
            return known
        if trial.mean is None or trial.split != "validation":
            raise UsageError(f"Trial {trial.number} has no score on validation rows, so it is kept as no version.")
        program = self.program_of(trial)
        version = self._store.save_version(
            program.state(),
            {**self._alike, **self._facts(trial, program)},
            now=self._clock.now(),
            parent=self._parent,
            run_id=self._result.run_id,
        )
        self._kept[trial.number] = version
        return version

    def keep_front(self, best: TrialSummary) -> tuple[Version, ...]:
        """Keep the front, or `MOST_KEPT` of it, and return its versions, each once; `best` comes last, as `latest`."""
        others = [trial for trial in self._result.front if trial.number != best.number]
        points = np.array([gains(trial.measures, self._plan.objectives) for trial in others])
        chosen = [others[position] for position in spread(points, MOST_KEPT - 1)]
        versions = [self.keep(trial) for trial in (*chosen, best)]
        return tuple({version.number: version for version in reversed(versions)}.values())[::-1]

    def _facts(self, trial: TrialSummary, program: Program) -> dict[str, Any]:
        low, high = interval([one or 0.0 for one in trial.scores])
        learnt_from = train_figures(trial, [*self._result.trials, *_closing(self._result)])
        is_best = self._result.best is not None and self._result.best.number == trial.number
        return {
            **self._guarded(trial, (low, high), learnt_from["gap"]),
            "interface": interface_of(program),
            **learnt_from,
            # what is expected of the best of several says nothing of the others
            "expected": expected_figures(trial, self._result.trials) if is_best else None,
            "score": trial.mean,
            "low": low,
            "high": high,
            "rows": len(trial.scores),
            "trial": trial.number,
            "measures": dict(trial.measures),
        }

    def _guarded(self, trial: TrialSummary, ends: tuple[float, float], gap: float | None) -> dict[str, Any]:
        """Return `copied`, what instructions hold of training inputs, and the `warnings` of a scored candidate."""
        trials = self._result.trials
        told, untuned = (instructions_of(one.candidate.values) for one in (trial, trials[0]))
        copied = copied_instructions(told, untuned, self._plan.train.examples)
        found = Findings(
            low=ends[0],
            high=ends[1],
            rows=len(trial.scores),
            gap=gap,
            baseline=trials[0].mean,
            score=trial.mean,
            candidate_scores=[one.mean for one in trials if one.split == "validation" and one.mean is not None],
            copied=copied,
        )
        unknown = gap_unknown(trial, self._result) if gap is None else ()
        warnings = [*cautions(found), *unknown, *teacher_cautions(trials), *failure_cautions(trials)]
        return {"copied": copied, "warnings": warnings}


def _closing(result: SweepResult) -> tuple[TrialSummary, ...]:
    return () if result.closing is None else (result.closing,)
