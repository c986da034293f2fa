"""`dspex keys limit`: what all callers of a tenant may take together."""

from __future__ import annotations

from typing import Annotated

import typer

from dspex_agents.clock import SystemClock
from dspex_ray.access.key_book import KeyBook
from dspex_ray.access.limits import Limits
from dspex_ray.cli.keys.commands import limits_told, tell_not_asked_for
from dspex_ray.cli.keys.options import Burst, Concurrent, Rate, UsdPerDay
from dspex_ray.cli.options import By, Debug, Json, StoreUrl, who
from dspex_ray.cli.output import out, print_json
from dspex_ray.store import open_store


def limit(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    requests_per_second: Rate = None,
    burst: Burst = None,
    concurrent_requests: Concurrent = None,
    usd_per_day: UsdPerDay = None,
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Set what all keys and tokens of a tenant may take together, all anew: what is not given is not limited."""
    limits = Limits(
        requests_per_second=requests_per_second,
        burst=burst,
        concurrent_requests=concurrent_requests,
        usd_per_day=usd_per_day,
    )
    KeyBook(open_store(store).database).limit_tenant(tenant, limits, by=who(by), now=SystemClock().now())
    tell_not_asked_for()
    told = limits.to_json()
    if json:
        print_json({"tenant": tenant, "limits": told})
        return
    out.print(f"{tenant}: {', '.join(limits_told(told)) or 'no limits'}", markup=False)
