"""`dspex sweeps watch`: a run as it goes, from another terminal; only the store is read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dspex_agents.clock import SystemClock
from dspex_coordination.analysis import SearchRun
from dspex_coordination.sweep import SweepRecord, SweepStore
from dspex_ray.cli.agents.waiting import ended_by_signal
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.sweeps.figures import figure, money, plural, span
from dspex_ray.cli.sweeps.listing import coloured
from dspex_ray.cli.sweeps.options import RunId
from dspex_ray.cli.sweeps.reading import ENDED, STALE, Look, look_at, opened, recorded, resume_hint, shown_status
from dspex_ray.terminal import err


def watch(
    run: RunId,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 1.0,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Show a run as it goes, until it ends or Ctrl-C; the run itself is left alone. With --json only its end.

    Exit code 1 if it failed or its driver is gone.
    """
    kept = opened(store)
    with ended_by_signal() as ended:
        last = _follow(kept, run, ended, interval, _nothing if json else _shown)
    if json:
        print_json(last)
    elif last["status"] == STALE:
        hint = resume_hint(recorded(kept, run))
        err.print(f"The driver of {run} is gone. Go on with:\n  {hint}", style="red", markup=False, soft_wrap=True)
    return 1 if last["status"] in (STALE, "failed") else 0


Show = Callable[[Callable[[], dict[str, Any] | None]], None]


def _follow(kept: SweepStore, run: str, ended: threading.Event, interval: float, show: Show) -> dict[str, Any]:
    """Look again and again, and return the last look."""
    looks: list[dict[str, Any]] = []
    seen: Look | None = None

    def following() -> dict[str, Any] | None:
        """Return what is to be shown next, None at the end."""
        if looks and (looks[-1]["status"] in (*ENDED, STALE) or ended.wait(interval)):
            return None
        nonlocal seen
        record = recorded(kept, run)
        if seen is None or seen.record.trials != record.trials:  # reading all trials again and again costs something
            seen = look_at(kept, record)
        looks[:] = [_state(record, seen.run, SystemClock().now())]
        return looks[-1]

    show(following)
    return looks[-1]


def _state(record: SweepRecord, run: SearchRun, now: float) -> dict[str, Any]:
    measure, best = run.objectives[0].name, run.best
    return {
        "run_id": record.run_id,
        "status": shown_status(record, now),
        "note": record.note,
        "trials_done": record.trials,
        "trials_total": record.config["max_trials"],
        "errands": sum(one.split == "errand" for one in run.trials),
        "rows": record.rows,
        "measure": measure,
        "best": None if best is None else best.measures[measure],
        "best_trial": None if best is None else best.number,
        "cost_usd": record.cost_usd,
        "active_s": record.active_s,
    }


def _nothing(following: Callable[[], dict[str, Any] | None]) -> None:
    while following() is not None:
        pass


def _shown(following: Callable[[], dict[str, Any] | None]) -> None:
    """Show each look in place of the one before, or, off a terminal, a line for each that differs."""
    if out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            while (now := following()) is not None:
                live.update(_table(now), refresh=True)
        return
    before = ""
    while (now := following()) is not None:
        line = _line(now)
        if line != before:
            out.print(line, markup=False, soft_wrap=True)
        before = line


def _best(now: dict[str, Any]) -> str:
    return "-" if now["best"] is None else f"{figure(now['measure'], now['best'])} (trial {now['best_trial']})"


def _line(now: dict[str, Any]) -> str:
    trials = f"{now['trials_done']}/{now['trials_total']} trials"
    note = f": {now['note']}" if now["note"] else ""
    errands = [plural(now["errands"], "errand")] if now["errands"] else []
    parts = (trials, *errands, plural(now["rows"], "row"), f"best {_best(now)}", money(now["cost_usd"]))
    return f"{now['run_id']} {now['status']}{note}, {', '.join(parts)}"


def _table(now: dict[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(now["run_id"], style="bold"), coloured(now["status"]), Text(now["note"] or ""))
    grid.add_row("trials", f"{now['trials_done']}/{now['trials_total']}", plural(now["rows"], "row"))
    if now["errands"]:
        grid.add_row("errands", str(now["errands"]))
    grid.add_row(Text(now["measure"]), _best(now))
    grid.add_row("cost", money(now["cost_usd"]), f"{span(now['active_s'])} of work")
    return grid
