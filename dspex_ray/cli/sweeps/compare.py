"""`dspex sweeps compare`: several runs side by side."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dspex_coordination.analysis import Standing, paired_scores, space_changes, standings
from dspex_coordination.sweep import SweepStore
from dspex_ray.cli.agents.shown import show
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.sweeps.figures import figure, money, plural
from dspex_ray.cli.sweeps.findings import difference_json
from dspex_ray.cli.sweeps.options import MeasureName, RunIds
from dspex_ray.cli.sweeps.reading import Look, checked_measure, look, opened, scores_of
from dspex_ray.errors import UsageError
from dspex_ray.intervals import interval

_SAME = ("validation", "metric")  # the parts of a fingerprint that must agree for scores of rows to be paired


def compare(
    runs: RunIds,
    measure: MeasureName = None,
    reach: Annotated[
        float | None, typer.Option(help="A value to be reached; by default the best that every run reached.")
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare runs: their best with intervals, row by row where the rows are the same, cost, trials, spaces."""
    chosen = list(dict.fromkeys(runs))
    if len(chosen) < 2:  # noqa: PLR2004 - a comparison
        raise UsageError(f"A comparison needs two different runs or more, got {', '.join(runs)}.")
    if reach is not None and not math.isfinite(reach):
        raise UsageError(f"--reach must be a finite number, got {reach}.")
    kept = opened(store)
    seen = [look(kept, run) for run in chosen]
    for one in seen:
        checked_measure(one, measure)
    found = _compared(kept, seen, measure, reach)
    print_json(found) if json else _show(found)


def _compared(kept: SweepStore, seen: list[Look], measure: str | None, reach: float | None) -> dict[str, Any]:
    objective, level, stands = standings([one.run for one in seen], measure, reach)
    scores = [scores_of(kept, one, stand.best.number) for one, stand in zip(seen, stands, strict=True)]
    first = seen[0]
    pairs: list[dict[str, Any]] = []
    for one, mine in zip(seen[1:], scores[1:], strict=True):
        changes = space_changes(first.run.space_json, one.run.space_json)
        differing = _differing(first, one)
        told = None if differing else difference_json(*paired_scores(scores[0], mine))
        names = {"run": one.record.run_id, "against": first.record.run_id}
        pairs.append({**names, "score": told, "not_paired": differing, "space": list(changes)})
    rows = [_row(one, stand, list(mine.values())) for one, stand, mine in zip(seen, stands, scores, strict=True)]
    return {"measure": objective.name, "direction": objective.direction, "reach": level, "runs": rows, "pairs": pairs}


def _row(seen: Look, stand: Standing, scores: list[float | None]) -> dict[str, Any]:
    known = [score for score in scores if score is not None]
    low, high = interval(known) if known else (None, None)
    reached = stand.reached
    return {
        "run_id": seen.record.run_id,
        "optimizer": seen.record.config["optimizer"],
        "best": stand.last.best,
        "best_trial": stand.best.number,
        "score": stand.best.measures.get("score"),
        "score_low": low,
        "score_high": high,
        "trials": seen.record.trials,
        "failed": sum(trial.failed is not None for trial in seen.trials),
        "cost_usd": seen.record.cost_usd,
        "reached_after_trials": None if reached is None else reached.told,
        "reached_after_usd": None if reached is None else reached.cost_usd,
    }


def _differing(one: Look, other: Look) -> list[str]:
    """Return why rows cannot be paired: parts of the fingerprint that differ, or are not recorded."""
    mine, theirs = one.record.fingerprint, other.record.fingerprint
    return [part for part in _SAME if part not in mine or mine[part] != theirs.get(part)]


def _show(found: dict[str, Any]) -> None:
    measure = found["measure"]
    level = figure(measure, found["reach"])
    table = Table(
        "run", "optimizer", f"best {measure}", "95 % interval of its score", "trials", "failed", "cost", f"to {level}"
    )
    for row in found["runs"]:
        reached = row["reached_after_trials"]
        ends = (
            "-"
            if row["score_low"] is None
            else f"{figure('score', row['score_low'])} to {figure('score', row['score_high'])}"
        )
        when = "never" if reached is None else f"{plural(reached, 'trial')}, {money(row['reached_after_usd'])}"
        counts = (str(row["trials"]), str(row["failed"]), money(row["cost_usd"]), when)
        table.add_row(*map(Text, (row["run_id"], row["optimizer"], figure(measure, row["best"]), ends, *counts)))
    show(table)
    for pair in found["pairs"]:
        out.print(f"{pair['run']} against {pair['against']}: {_paired(pair)}", markup=False, soft_wrap=True)
        for change in pair["space"]:
            out.print(f"  space: {change}", markup=False, soft_wrap=True)


def _paired(pair: dict[str, Any]) -> str:
    score = pair["score"]
    if score is None:
        why = f"their {' and '.join(pair['not_paired'])} differ" if pair["not_paired"] else "they share no scored row"
        return f"not row by row, since {why}"
    mean, low, high = (f"{100 * score[part]:+.1f}" for part in ("mean", "low", "high"))
    return f"score {mean} points ({low} to {high}) on the same {plural(score['rows'], 'row')}"
