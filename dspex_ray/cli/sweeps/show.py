"""`dspex sweeps show`: one run, or one trial of it, closely."""

from __future__ import annotations

from typing import Annotated

import typer

from dspex_agents.clock import SystemClock
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import print_json
from dspex_ray.cli.sweeps.findings import one_trial, rows_json, run_json, trial_json
from dspex_ray.cli.sweeps.options import RunId
from dspex_ray.cli.sweeps.reading import look, opened
from dspex_ray.cli.sweeps.show_view import show_run, show_trial
from dspex_ray.errors import UsageError


def show(
    run: RunId,
    trial: Annotated[int | None, typer.Option(min=0, help="Only this trial, with the scores of its rows.")] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Also what was answered to each row; of the best trial.")
    ] = False,
    top: Annotated[int, typer.Option(min=0, help="How many trials to list, the best first.")] = 10,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a run: settings, best candidate against the baseline, trials, failures, attempts, cost; or one trial."""
    kept = opened(store)
    seen = look(kept, run)
    if trial is None and not rows:
        found = run_json(kept, seen, top, SystemClock().now())
        print_json(found) if json else show_run(found)
        return
    best = seen.run.best
    if trial is None and best is None:
        raise UsageError(f"Sweep {run!r} has no scored trial yet, so no best one. Name one with --trial.")
    number = best.number if trial is None and best is not None else one_trial(seen, trial or 0).number
    ended = next((one for one in seen.run.trials if one.number == number), None)
    open_one = {"trial": number, "candidate": one_trial(seen, number).candidate.to_json(), "open": True}
    told = {"run_id": run, **(open_one if ended is None else trial_json(ended))}
    told["scored"] = rows_json(kept, seen, number, outputs=rows)
    print_json(told) if json else show_trial(told)
