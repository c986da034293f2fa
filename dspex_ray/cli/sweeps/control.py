"""`dspex sweeps pause | resume | cancel | extend`: what is asked of a run from outside; its driver hears it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from dspex_agents.clock import SystemClock
from dspex_coordination.sweep import SweepRecord, SweepStore
from dspex_coordination.sweep.record import RequestKind
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.sweeps.options import RunId
from dspex_ray.cli.sweeps.reading import ENDED, STALE, opened, recorded, resume_hint, shown_status
from dspex_ray.errors import UsageError


def pause(run: RunId, store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """Let a running sweep hand out no more work; what is in flight is still recorded."""
    kept, now = opened(store), SystemClock().now()
    record = _with_driver(kept, run, now, "paused", ("running",))
    _ask(kept, record, "pause", {}, now, as_json=json)


def resume(run: RunId, store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """Let a paused sweep go on. One whose driver is gone is resumed with `dspex optimize ... --resume RUN`."""
    kept, now = opened(store), SystemClock().now()
    record = _with_driver(kept, run, now, "resumed", ("paused",))
    _ask(kept, record, "resume", {}, now, as_json=json)


def cancel(run: RunId, store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """End a running or paused sweep; what it recorded is kept, and it can be resumed later."""
    kept, now = opened(store), SystemClock().now()
    record = _with_driver(kept, run, now, "cancelled", ("running", "paused"))
    _ask(kept, record, "cancel", {}, now, as_json=json)


def extend(
    run: RunId,
    trials: Annotated[int | None, typer.Option(min=1, help="The new most trials, those done included.")] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="The new budget in US dollars, what is spent included.")
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a running or paused sweep have more trials or money, as new totals."""
    if trials is None and budget_usd is None:
        raise UsageError("Say what to extend it to: --trials or --budget-usd.")
    kept, now = opened(store), SystemClock().now()
    record = recorded(kept, run)
    given = {"trials": trials, "budget_usd": budget_usd}
    more = {name: value for name, value in given.items() if value is not None}
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in more.items())
    if record.status in ENDED:
        raise UsageError(
            f"Sweep {run!r} has ended ({record.status}), so there is no driver to hear this. Go on with: "
            f"{resume_hint(record)} {words}"
        )
    _require_more(record, more)
    _ask(kept, record, "extend", more, now, as_json=json)


def _require_more(record: SweepRecord, more: Mapping[str, float]) -> None:
    """Raise UsageError with every total that is not above the one the sweep has."""
    problems: list[str] = []
    has = {"trials": record.config["max_trials"], "budget_usd": record.config.get("budget_usd")}
    for name, wanted in more.items():
        limit = has[name]
        if limit is None:
            problems.append(f"it has no limit of {name}")
        elif not limit < wanted < math.inf:
            problems.append(f"{name} is {limit} already, got {wanted}")
    if problems:
        raise UsageError(f"Sweep {record.run_id!r} is extended to new totals: {'; '.join(problems)}.")


def _with_driver(kept: SweepStore, run: str, now: float, done: str, fit: tuple[str, ...]) -> SweepRecord:
    """Return the record of a run that a living driver can hear. Raises UsageError that says what to do instead."""
    record = recorded(kept, run)
    status = shown_status(record, now)
    if status in fit:
        return record
    if done == "resumed" and status in (STALE, *ENDED):
        why = "its driver is gone" if status == STALE else f"it has ended ({status})"
        raise UsageError(f"Sweep {run!r} has no driver to hear this: {why}. Go on with: {resume_hint(record)}")
    if status == STALE:
        raise UsageError(f"Sweep {run!r} has no driver any more, so nothing of it runs and it cannot be {done}.")
    raise UsageError(f"Sweep {run!r} is {status}, so it cannot be {done}; that takes one that is {' or '.join(fit)}.")


def _ask(
    kept: SweepStore, record: SweepRecord, kind: RequestKind, data: dict[str, Any], now: float, *, as_json: bool
) -> None:
    kept.request(record.run_id, kind, data, now)
    status = shown_status(record, now)
    if as_json:
        print_json({"asked": kind, "run_id": record.run_id, "status": status, **data})
        return
    heard = "its driver hears it within seconds"
    if status in (STALE, *ENDED):
        heard = f"it is heard when the run goes on: {resume_hint(record)}"
    out.print(f"Asked {record.run_id} to {kind}; {heard}.", markup=False, soft_wrap=True)
