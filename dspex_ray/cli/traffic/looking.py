"""`dspex traffic show`: the plan in force, and every one before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.store import open_store
from dspex_ray.store.plans import PlanRevision
from dspex_ray.traffic.control import EndpointTraffic
from dspex_ray.traffic.plan import TrafficPlan

EndpointName = Annotated[str, typer.Argument(help="The endpoint's name.", metavar="NAME")]


def show(
    name: EndpointName,
    history: Annotated[bool, typer.Option("--history", help="Show every plan that was ever in force.")] = False,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show who gets which version of an endpoint."""
    traffic = EndpointTraffic(name, open_store(store))
    if history:
        _tell_history(traffic.history(), json=json)
        return
    tell(traffic.show(), json=json)


def tell(revision: PlanRevision, *, json: bool) -> None:
    """Print a plan that is in force."""
    if json:
        print_json(revision.to_json())
        return
    out.print(f"{revision.endpoint}: revision {revision.revision}, {_made(revision)}", markup=False)
    plan = revision.plan
    for arm in plan.arms:
        named = "" if arm.name == arm.version else f" ({arm.name})"
        out.print(f"  {arm.weight:7.2%}  version {arm.version}{named}", markup=False)
    for rule in plan.rules:
        wanted = rule.value if rule.match == "equals" else f"{rule.value}*"
        version = plan.arm(rule.arm).version
        out.print(f"  rule {rule.name}: {rule.header}: {wanted} -> version {version}", markup=False)
    for shadow in plan.shadows:
        out.print(f"  shadow: version {shadow.version} gets copies of {shadow.share:.2%}", markup=False)
    if plan.sticky_header:
        out.print(f"  sticky by {plan.sticky_header}", markup=False)


def shares(plan: TrafficPlan) -> str:
    """Return the shares in one line, such as `3 0.9, 4 0.1`."""
    return ", ".join(f"{arm.version} {arm.weight:.4g}" for arm in plan.arms)


def _tell_history(revisions: Sequence[PlanRevision], *, json: bool) -> None:
    if json:
        print_json({"revisions": [one.to_json() for one in revisions]})
        return
    table = Table("revision", "by", "shares", "rules", "shadows", "who", "when", "why")
    for one in revisions:
        plan = one.plan
        counts = (str(len(plan.rules)), str(len(plan.shadows)))
        table.add_row(str(one.revision), one.kind, shares(plan), *counts, one.by, _when(one), one.why)
    out.print(table)


def _made(revision: PlanRevision) -> str:
    why = f": {revision.why}" if revision.why else ""
    return f"{revision.kind} by {revision.by} at {_when(revision)}{why}"


def _when(revision: PlanRevision) -> str:
    return f"{datetime.fromtimestamp(revision.at, UTC):%Y-%m-%d %H:%M:%S}"
