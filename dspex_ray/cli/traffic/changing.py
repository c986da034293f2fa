"""`dspex traffic split | rule | shadow | rollback`: another plan, at once and without a restart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import typer

from dspex_ray.cli.options import By, Debug, Json, StoreUrl, Why
from dspex_ray.cli.traffic.looking import EndpointName, tell
from dspex_ray.errors import UsageError
from dspex_ray.store import open_store
from dspex_ray.traffic.control import EndpointTraffic
from dspex_ray.traffic.plan import Match


def split(
    name: EndpointName,
    weights: Annotated[
        list[str], typer.Argument(help="version=share, such as 3=0.9 4=0.1 or 3=90% 4=10%.", metavar="VERSION=SHARE...")
    ],
    sticky: Annotated[
        str | None, typer.Option(help="The header that says who asks: the same value gets the same version.")
    ] = None,
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Share requests among versions by weight; rules and shadows stay as they are."""
    given = weights_of(weights)
    tell(_traffic(name, by, store).split(given, sticky_header=sticky, why=why), json=json)


def rule(
    name: EndpointName,
    rule_name: Annotated[str, typer.Argument(help="What the rule is called; one of this name goes.", metavar="RULE")],
    header: Annotated[str | None, typer.Option(help="The header it looks at.")] = None,
    value: Annotated[str | None, typer.Option(help="The header's value, exactly.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Or what the value begins with.")] = None,
    to: Annotated[str | None, typer.Option(help="The version that gets these requests, whatever the weights.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the rule away.")] = False,
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Send requests with a header's value to one version, whatever the weights."""
    if remove:
        if any(one is not None for one in (header, value, prefix, to)):
            raise UsageError("--remove takes the rule away, and goes with no other option of a rule.")
        tell(_traffic(name, by, store).remove_rule(rule_name, why=why), json=json)
        return
    wanted = value if prefix is None else prefix
    if header is None or to is None or wanted is None or (value is not None and prefix is not None):
        raise UsageError("A rule needs --header, --to, and either --value or --prefix; or --remove.")
    match: Match = "equals" if prefix is None else "prefix"
    traffic = _traffic(name, by, store)
    tell(traffic.rule(rule_name, header=header, value=wanted, to=to, match=match, why=why), json=json)


def shadow(
    name: EndpointName,
    version: Annotated[str, typer.Argument(help="The version that looks on.", metavar="VERSION")],
    share: Annotated[str, typer.Option(help="Of how many requests it gets copies, as 0.1 or 10%; 0 ends it.")] = "1",
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a version answer copies of requests; its answers are recorded and reach nobody."""
    part = share_of(share)
    tell(_traffic(name, by, store).shadow(version, part, why=why), json=json)


def rollback(
    name: EndpointName,
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put the plan before in force again, that of a former deployment too; again, and the one before that."""
    tell(_traffic(name, by, store).rollback(why=why), json=json)


def weights_of(pairs: Sequence[str]) -> dict[str, float]:
    """Return `3=0.9 4=10%` as weights by version. Raises UsageError for another form or a version given twice."""
    weights: dict[str, float] = {}
    for pair in pairs:
        version, equals, share = pair.rpartition("=")
        if not equals or not version.strip():
            raise UsageError(f"Shares are given as version=share, such as 3=0.9 or 3=90%, got {pair!r}.")
        if version in weights:
            raise UsageError(f"Version {version!r} is given twice.")
        weights[version] = share_of(share)
    return weights


def share_of(text: str) -> float:
    """Return `0.1` or `10%` as a number. Raises UsageError for another form."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"A share is a number or a percentage, such as 0.1 or 10%, got {text!r}.")
    return value / 100 if percent else value


def _traffic(name: str, by: str | None, store: str | None) -> EndpointTraffic:
    return EndpointTraffic(name, open_store(store), by or "")
