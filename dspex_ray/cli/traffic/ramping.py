"""`dspex traffic ramp`: a new version takes over step by step, watched by the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, cast

import typer
from rich.table import Table

from dspex_ray.cli.options import By, Debug, Json, StoreUrl, Why
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.traffic.changing import share_of
from dspex_ray.cli.traffic.looking import EndpointName
from dspex_ray.cli.versions.watching import seconds
from dspex_ray.errors import UsageError
from dspex_ray.store import open_store
from dspex_ray.store.ramps import KeptRamp
from dspex_ray.traffic.control import EndpointTraffic
from dspex_ray.traffic.ramp import DEFAULT_GUARDS, ArmEvidence, Guard, Measure, RampStep

_MEASURED: Final = ("errors", "latency_s", "cost_usd")  # a score is known later than the answer


def ramp(
    name: EndpointName,
    to: Annotated[str | None, typer.Option(help="The version that is to take over.")] = None,
    steps: Annotated[str, typer.Option(help="Its shares one after the other, before it gets all.")] = "1%,10%,50%",
    hold: Annotated[str, typer.Option(help="How long each step holds at least, such as 5m.")] = "5m",
    requests: Annotated[int, typer.Option(min=0, help="How many of its requests each step sees at least.")] = 50,
    guard: Annotated[
        list[str] | None,
        typer.Option(help="measure=margin, by which it may be worse: errors, latency_s, cost_usd. May be repeated."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show how far the last ramp is.")] = False,
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a version take over step by step; it loses everything at once when it is surely worse.

    The cluster goes on with it when this command has ended. Any other change of the traffic, such as `dspex traffic
    rollback`, ends it.
    """
    if status == (to is not None):
        raise UsageError("Name the version that is to take over by --to, or give --status, not both.")
    if to is None:
        _tell(EndpointTraffic(name, open_store(store)).last_ramp(), json=json)
        return
    given = _steps(steps, seconds(hold, "--hold"), requests)
    guards = _guards(guard) if guard else DEFAULT_GUARDS
    _tell(EndpointTraffic(name, open_store(store), by or "").ramp(to, steps=given, guards=guards, why=why), json=json)


def _steps(text: str, hold_s: float, requests: int) -> tuple[RampStep, ...]:
    return tuple(RampStep(weight=share_of(one), hold_s=hold_s, requests=requests) for one in text.split(","))


def _guards(pairs: Sequence[str]) -> tuple[Guard, ...]:
    guards = []
    for pair in pairs:
        measure, equals, margin = pair.partition("=")
        if not equals or measure not in _MEASURED:
            known = ", ".join(_MEASURED)
            raise UsageError(f"A guard is measure=margin, such as errors=0.01, with one of {known}; got {pair!r}.")
        guards.append(Guard(measure=cast("Measure", measure), margin=share_of(margin)))
    return tuple(guards)


def _tell(kept: KeptRamp, *, json: bool) -> None:
    if json:
        print_json(kept.to_json())
        return
    state, steps = kept.state, kept.ramp.steps
    since = f"{datetime.fromtimestamp(state.since, UTC):%Y-%m-%d %H:%M:%S}"
    at = (
        f", step {state.step + 1} of {len(steps)} ({steps[state.step].weight:.4g})" if state.status == "running" else ""
    )
    why = f": {state.reason}" if state.reason else ""
    named = f"{kept.endpoint}: ramp from {kept.ramp.old} to {kept.ramp.new}"
    out.print(f"{named}, {state.status.replace('_', ' ')}{at} since {since}{why}", markup=False)
    table = Table("arm", "requests", "failed", "latency s", "cost $")
    for arm in (kept.ramp.old, kept.ramp.new):
        one = kept.evidence.get(arm, ArmEvidence())
        means = (_mean(one, "latency_s"), _mean(one, "cost_usd"))
        table.add_row(arm, str(one.answered.trials), str(one.answered.failures), *means)
    out.print(table)


def _mean(evidence: ArmEvidence, measure: str) -> str:
    found = evidence.measures.get(measure)
    return f"{found.mean:.4g}" if found is not None and found.count else ""
