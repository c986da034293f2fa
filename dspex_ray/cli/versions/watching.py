"""`dspex versions watch`: the version a label names is scored on new rows, and optimised again when it drifts."""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dspex_agents.clock import SystemClock
from dspex_ray.cli.interrupt import StoppedError
from dspex_ray.cli.options import Address, Debug, Json, Mapping, Metric, StoreUrl, who
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import mapping_of, path_and_version
from dspex_ray.errors import InterruptedRunError, UsageError
from dspex_ray.store import Store, WatchStep, open_store
from dspex_ray.terminal import bar, err, percent, search_bar
from dspex_ray.versions.drift import DriftPolicy, Next
from dspex_ray.versions.gate import Gate

if TYPE_CHECKING:
    from dspex_ray.versions.watch_plan import WatchPlan

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_CODES = {"checked": 0, "promoted": 11, "offered": 12, "refused": 13, "unchecked": 14, "failed": 1}
_DUE = 10
_SHOWN = 20


def watch(
    program: Annotated[str, typer.Argument(help="As module:Class.", metavar="PROGRAM")],
    data: Annotated[str | None, typer.Option(help="Labelled rows, new ones at the end; read anew each time.")] = None,
    label: Annotated[str, typer.Option(help="Which version is watched.")] = "production",
    check_every: Annotated[str, typer.Option(help="Between two checks: 90s, 30m, 6h or 1d.")] = "6h",
    threshold: Annotated[float, typer.Option(help="Optimise at once when the score is below this share.")] = 0.7,
    overdue_after: Annotated[
        str, typer.Option(help="Optimise so long after the last time if there are new rows; or never.")
    ] = "24h",
    retry_after: Annotated[str, typer.Option(help="How long a failed or refused optimisation is let be.")] = "30m",
    rows: Annotated[int, typer.Option(help="The newest rows that a check scores.")] = 200,
    min_rows: Annotated[int, typer.Option(help="The fewest rows that the version has not seen.")] = 30,
    held_out: Annotated[
        str | None, typer.Option(help="Rows the gate judges by; default: a third of the rows not seen, kept apart.")
    ] = None,
    min_gain: Annotated[float, typer.Option(help="The gate refuses a gain of less than this share.")] = 0.01,
    promote: Annotated[bool, typer.Option(help="Move the label to what passes the gate, or only say how.")] = False,
    optimizer: Annotated[str, typer.Option(help="As in `dspex optimize`.")] = "auto",
    trials: Annotated[int, typer.Option(help="The most candidates of one optimisation.")] = 30,
    budget_usd: Annotated[float | None, typer.Option(help="What one optimisation may spend.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0,
    metric: Metric = None,
    map_: Mapping = None,
    workers: Annotated[int, typer.Option(help="Task agents, each in a process of its own.")] = 2,
    runtime: Annotated[str, typer.Option(help="ray, or in-process for a debugger.")] = "ray",
    address: Address = None,
    once: Annotated[bool, typer.Option("--once", help="Take one step and end, for cron.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Tell of the last steps and end.")] = False,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score the version a label names on new rows, again and again, and optimise it when quality drifts.

    It optimises when the score is below --threshold, when it declines, or when the last time is long ago. A version
    that passes the gate takes the label with --promote. All is kept in the store: the same command goes on where it
    was ended or killed, also in the middle of an optimisation.

    Exit codes of --once: 0 nothing to do, or checked and well; 10 checked, and an optimisation is due: run it again;
    11 optimised and promoted; 12 optimised, and waits to be promoted; 13 optimised, and refused by the gate; 14 no
    score could be had (data gone, too few new rows, model out of reach): tried again at the next check; 1 the
    optimisation failed and is tried again; 2 used wrongly; 130 interrupted.
    """
    kept = open_store(store)
    path, named = path_and_version(program)
    label = named or label
    if status:
        _tell_status(kept, path, label, json=json)
        return
    if data is None:
        raise UsageError("Give --data, the labelled rows that are read at each check, or --status.")
    policy = DriftPolicy(
        check_every_s=seconds(check_every, "--check-every"),
        threshold=threshold,
        overdue_after_s=math.inf if overdue_after == "never" else seconds(overdue_after, "--overdue-after"),
        retry_after_s=seconds(retry_after, "--retry-after"),
    )
    # a third of the time of `--help`
    from dspex_ray.versions.watch_plan import WatchPlan  # noqa: PLC0415 - see above

    plan = WatchPlan(
        program=path,
        data=data,
        label=label,
        policy=policy,
        metric=metric,
        mapping=mapping_of(map_),
        held_out=held_out,
        rows=rows,
        min_rows=min_rows,
        optimizer=optimizer,
        trials=trials,
        budget_usd=budget_usd,
        seed=seed,
        workers=workers,
        runtime=runtime,  # type: ignore[arg-type]  # checked when it is used
        address=address,
        gate=Gate(min_gain=min_gain),
        promotes=promote,
        by=f"watch of {who(None)}",
    )
    _watch(plan, kept, once=once, json=json)


def seconds(text: str, option: str) -> float:
    """Return a duration such as `6h` in seconds. Raises UsageError for another form."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} takes a number and one of s, m, h and d, such as 6h, got {text!r}.")
    return float(found[1]) * _UNITS[found[2]]


def _watch(plan: WatchPlan, store: Store, *, once: bool, json: bool) -> None:
    from dspex_ray.versions.watching import Watch  # noqa: PLC0415 - see `watch`

    def tell(found: WatchStep | Next) -> None:
        if json:
            print_json(_json(found))
        else:
            _say(plan.program, plan.label, found)

    try:
        with bar("optimize") as tell_bar:
            watching = Watch(plan, store, clock=SystemClock(), progress=search_bar(tell_bar))
            if not once:
                watching.run(time.sleep, tell)
            found = watching.step()
    except InterruptedRunError as stopped:
        raise StoppedError(
            f"Interrupted; the optimisation under way, run {stopped.run_id}, is kept. The same command goes on with it."
        ) from stopped
    except KeyboardInterrupt as stopped:
        raise StoppedError("Interrupted; every step is kept. The same command goes on from there.") from stopped
    tell(found)
    code = 0 if isinstance(found, Next) else _CODES[found.kind]
    if isinstance(found, WatchStep) and found.facts.get("next") == "optimize":
        code = _DUE
    if code:
        raise typer.Exit(code)


def _tell_status(store: Store, path: str, label: str, *, json: bool) -> None:
    steps = store.watch_steps(path, label, _SHOWN)
    if json:
        print_json({"program": path, "label": label, "steps": [one.to_json() for one in steps]})
        return
    if not steps:
        out.print(f"{label} of {path} was never watched.", markup=False)
    for step in steps:
        _say(path, label, step)


def _json(found: WatchStep | Next) -> dict[str, Any]:
    if isinstance(found, Next):
        return {"kind": "waiting", "why": found.why, "until": found.at}
    return found.to_json()


def _say(path: str, label: str, found: WatchStep | Next) -> None:
    if isinstance(found, Next):
        out.print(f"Nothing to do until {_moment(found.at)}: {found.why}.", markup=False)
        return
    facts, text = found.facts, _told(path, label, found)
    out.print(f"{_moment(found.at)} version {facts['version']}: {text}", markup=False, soft_wrap=True)
    if found.kind in ("failed", "unchecked"):
        err.print("It is tried again; what is done so far is kept.", style="yellow", markup=False)


def _told(path: str, label: str, step: WatchStep) -> str:
    facts = step.facts
    match step.kind:
        case "checked":
            ends = f"{percent(facts['low'])} to {percent(facts['high'])}"
            more = f"; {facts['why']}: optimise" if facts["next"] == "optimize" else ""
            waits = "" if facts["offered"] is None else f"; {_move(path, label, facts['offered'])}"
            return (
                f"{percent(facts['score'])} ({ends}) on {facts['rows']} new rows, ${facts['cost_usd']:.4f}{more}{waits}"
            )
        case "begun":
            return f"optimisation begun as run {facts['run_id']} on {facts['rows']} rows: {facts['why']}"
        case "unchecked" | "failed":
            run = f"run {facts['run_id']} came to no version" if "run_id" in facts else "no score"
            return f"{run}: {facts['error']}"
    number, gate = facts["new_version"], facts["gate"]
    told = f"version {number} was made by run {facts['run_id']}, ${facts['cost_usd']:.4f}"
    if gate["comparison"] is not None:
        told += f", {100 * gate['comparison']['difference']:+.1f} points on {gate['held_out']['rows']} held-out rows"
    if step.kind == "promoted":
        return f"{told}; {label} names it now"
    if step.kind == "offered":
        return f"{told}; {_move(path, label, number)}"
    return f"{told}; refused: {'; '.join(gate['refusals'])}"


def _move(path: str, label: str, number: int) -> str:
    return f"it passed the gate, move the label with `dspex versions label {path}@{number} {label}`"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
