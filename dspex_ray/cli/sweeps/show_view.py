"""A run and a trial for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from dspex_ray.cli.agents.shown import show
from dspex_ray.cli.output import out
from dspex_ray.cli.sweeps.figures import figure, money, plural, span
from dspex_ray.cli.sweeps.listing import coloured

_SHOWN = 60


def show_run(found: Mapping[str, Any]) -> None:
    """Print what `run_json` gave."""
    settings = found["settings"]
    show(Text.assemble((found["run_id"], "bold"), "  ", coloured(found["status"]), f"  {found['note'] or ''}".rstrip()))
    grid = Table.grid(padding=(0, 2))
    grid.add_row("optimizer", f"{settings['optimizer']}, seed {settings['seed']}")
    grid.add_row("objectives", ", ".join(f"{o['direction']} {o['name']}" for o in settings["objectives"]))
    if settings.get("bounds"):
        grid.add_row("bounds", ", ".join(_bound(bound) for bound in settings["bounds"]))
    done, rows = f"{found['trials_done']} of {settings['max_trials']}", plural(found["rows"], "row")
    grid.add_row("trials", f"{done}, {found['trials_open']} open, {rows}")
    grid.add_row("cost", f"{money(found['cost_usd'])}, {span(found['active_s'])} of work")
    grid.add_row("space", Text(_space(found["space"])))
    grid.add_row("attempts", Text(_attempts(found["attempts"])))
    for hit, counts in found["failures"].items():
        if counts:
            grid.add_row(f"failed {hit}", Text(_counts(counts)))
    for row in found["isolated"]:
        grid.add_row("isolated", Text(f"row {row['row']} of {row['split']}: {row['reason']}"))
    for one in found["requests"]:
        heard = (
            "not heard yet" if one["heard_at"] is None else f"refused: {one['refused']}" if one["refused"] else "heard"
        )
        grid.add_row(
            "asked", Text(f"{one['kind']} {json.dumps(one['data']) if one['data'] else ''}".strip() + f", {heard}")
        )
    show(grid)
    _show_best(found)
    if found["top"]:
        show(_trials(found["top"], [o["name"] for o in settings["objectives"]]))
    if found["front"]:
        out.print(f"front: trials {', '.join(map(str, found['front']))}")


def show_trial(told: Mapping[str, Any]) -> None:
    """Print one trial with its rows."""
    state = "open" if told.get("open") else told["failed"] or f"{plural(told['rows'], 'row')} of {told['split']}"
    show(Text.assemble(("trial " + str(told["trial"]), "bold"), f" of {told['run_id']}: {state}"))
    for name, value in told["candidate"].items():
        out.print(f"  {name} = {_short(value)}", markup=False)
    for name, value in told.get("measures", {}).items():
        out.print(f"  {name}: {figure(name, value)}", markup=False)
    if not told["scored"]:
        out.print("No row of it is recorded yet.")
        return
    answers = any("output" in row for row in told["scored"])
    table = Table("row", "score", "cost", "latency", "worker", "error", *(("answer",) if answers else ()))
    for row in told["scored"]:
        score = "-" if row["score"] is None else f"{row['score']:.4g}"
        cells = [
            row["row"],
            score,
            money(row["cost_usd"]),
            f"{row['latency_s']:.3g} s",
            row["worker"],
            row["error"] or "",
        ]
        table.add_row(*(Text(str(cell)) for cell in [*cells, *([_short(row["output"])] if answers else [])]))
    show(table)


def _show_best(found: Mapping[str, Any]) -> None:
    best = found["best"]
    if best is None:
        out.print("No trial has a score yet.")
        return
    measures = best["measures"]
    low, high = measures.get("score_low"), measures.get("score_high")
    interval = "" if low is None else f" (95 % interval {figure('score', low)} to {figure('score', high)})"
    out.print(f"[bold]best: trial {best['trial']}, score {figure('score', measures.get('score'))}[/]{interval}")
    gain = best["against_baseline"]
    if gain is not None:
        ends = f"{_points(gain['low'])} to {_points(gain['high'])}"
        out.print(f"  against trial 0: {_points(gain['mean'])} points ({ends}) on {plural(gain['rows'], 'row')}")
    for name, value in best["candidate"].items():
        out.print(f"  {name} = {_short(value)}", markup=False)


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _trials(top: list[dict[str, Any]], objectives: list[str]) -> Table:
    names = [*objectives, *(name for name in ("cost_usd", "latency_s", "prompt_tokens") if name not in objectives)]
    table = Table("trial", "rows", *names, "candidate")
    for trial in top:
        cells = [figure(name, value) if (value := trial["measures"].get(name)) is not None else "-" for name in names]
        values = ", ".join(f"{name}={_short(value)}" for name, value in trial["candidate"].items())
        table.add_row(*map(Text, (str(trial["trial"]), str(trial["rows"]), *cells, values)))
    return table


def _space(space: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({variable['kind']})" for name, variable in space["variables"].items()) or "no variable"


def _attempts(attempts: Mapping[str, Any]) -> str:
    outcomes = _counts(attempts["outcomes"]) or "none ended"
    wasted = f", {money(attempts['wasted_usd'])} for answers that came second" if attempts["wasted_usd"] else ""
    return f"{outcomes}; {plural(attempts['calls'], 'model call')}{wasted}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _bound(bound: Mapping[str, Any]) -> str:
    low, high = bound.get("at_least"), bound.get("at_most")
    return f"{'' if low is None else f'{low} <= '}{bound['name']}{'' if high is None else f' <= {high}'}"


def _short(value: Any) -> str:
    rounded = f"{value:.6g}" if isinstance(value, float) else value
    text = rounded if isinstance(rounded, str) else json.dumps(rounded, ensure_ascii=False)
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[: _SHOWN - 3]}..."
