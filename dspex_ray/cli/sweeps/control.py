"""`dspex sweeps pause | resume | cancel | extend`: what is asked of a run from outside; its driver hears it."""

from __future__ import annotations

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
    trials: Annotated[int | None, typer.Option(min=1, help="This many more trials.")] = None,
    budget_usd: Annotated[float | None, typer.Option(help="This many more US dollars.")] = None,
    minutes: Annotated[float | None, typer.Option(help="This many more minutes of work.")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Give a sweep more trials, money or time. One that has ended makes use of it when it is resumed."""
    given = {"trials": trials, "budget_usd": budget_usd, "seconds": None if minutes is None else 60 * minutes}
    more = {name: value for name, value in given.items() if value is not None}
    if not more:
        raise UsageError("Say what to extend it by: --trials, --budget-usd or --minutes.")
    wrong = [name for name, value in more.items() if not 0 < value < float("inf")]
    if wrong:
        raise UsageError(f"A sweep is extended by amounts above 0; check {', '.join(wrong)}.")
    kept, now = opened(store), SystemClock().now()
    _ask(kept, recorded(kept, run), "extend", more, now, as_json=json)


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
