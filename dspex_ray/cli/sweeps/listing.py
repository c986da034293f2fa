"""`dspex sweeps list`: the runs in the store."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dspex_agents.clock import SystemClock
from dspex_coordination.sweep import SweepRecord, SweepStore
from dspex_ray.cli.agents.shown import show
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.sweeps.figures import figure, money, span
from dspex_ray.cli.sweeps.reading import ENDED, STALE, look_at, opened, shown_status
from dspex_ray.errors import UnknownNameError

STATUSES = ("running", "paused", STALE, *ENDED)
_COLOURS = {"running": "cyan", "paused": "yellow", STALE: "red", "failed": "red", "finished": "green"}


def list_sweeps(
    status: Annotated[
        list[str] | None, typer.Option(help=f"Only these: {', '.join(STATUSES)}. May be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most runs to list.")] = 20,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the runs of `dspex optimize` in the store, the newest first. `stale`: running, but its driver is gone."""
    for one in status or ():
        if one not in STATUSES:
            raise UnknownNameError("status", one, STATUSES)
    kept, now = opened(store), SystemClock().now()
    rows = [_row(kept, record, now) for record in _records(kept, status, limit, now)]
    if json:
        print_json({"sweeps": rows})
        return
    if not rows:
        out.print("No such sweep." if status else "No sweeps yet. Start one with `dspex optimize`.", markup=False)
        return
    table = Table("run", "status", "optimizer", "trials", "best", "cost", "age")
    for row in rows:
        best = "-" if row["best"] is None else figure(row["measure"], row["best"])
        trials = f"{row['trials_done']}/{row['trials_total']}"
        cells = (row["optimizer"], trials, best, money(row["cost_usd"]), span(row["age_s"]))
        table.add_row(Text(row["run_id"]), coloured(row["status"]), *map(Text, cells))
    show(table)


def coloured(status: str) -> Text:
    """Return a run's status in its colour."""
    return Text(status, style=_COLOURS.get(status, ""))


def _records(kept: SweepStore, wanted: list[str] | None, limit: int, now: float) -> list[SweepRecord]:
    if not wanted:
        return list(kept.list_sweeps(limit=limit))
    stored = {*wanted, *(("running", "paused") if STALE in wanted else ())} - {STALE}
    found = kept.list_sweeps(status=sorted(stored))
    return [record for record in found if shown_status(record, now) in wanted][:limit]


def _row(kept: SweepStore, record: SweepRecord, now: float) -> dict[str, Any]:
    run = look_at(kept, record).run
    measure, best = run.objectives[0].name, run.best
    return {
        "run_id": record.run_id,
        "status": shown_status(record, now),
        "optimizer": record.config["optimizer"],
        "trials_done": record.trials,
        "trials_total": record.config["max_trials"],
        "measure": measure,
        "best": None if best is None else best.measures[measure],
        "best_trial": None if best is None else best.number,
        "cost_usd": record.cost_usd,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "age_s": max(0.0, now - record.created_at),
    }
