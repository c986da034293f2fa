"""`dspex status`: what is served, what is kept, what it cost."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from dspex_agents.errors import RuntimeUnavailableError
from dspex_ray.cli.options import Address, Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import ClusterError
from dspex_ray.store import open_store


def status(
    address: Address = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the endpoints of the cluster, and what the store holds. Starts nothing."""
    kept = open_store(store)
    cluster, endpoints = _cluster(address)
    totals, versions = kept.totals(), kept.versions()
    if json:
        print_json(
            {
                "cluster": cluster,
                "endpoints": endpoints,
                "store": repr(kept.database),
                "versions": len(versions),
                "calls": totals.calls,
                "cost_usd": totals.cost_usd,
            }
        )
        return
    out.print(f"cluster: {cluster or 'none on this machine'}")
    table = Table("endpoint", "url", "status", "version", "replicas")
    for entry in endpoints:
        table.add_row(*(str(entry[key]) for key in ("name", "url", "status", "version", "replicas")))
    if endpoints:
        out.print(table)
    else:
        out.print("endpoints: none")
    out.print(f"store: {len(versions)} versions, {totals.calls} model calls, ${totals.cost_usd:.4f}")


def _cluster(address: str | None) -> tuple[str | None, list[dict[str, Any]]]:
    from dspex_agents.ray_runtime import disconnect_cluster, join_cluster  # noqa: PLC0415 - loads ray

    try:
        found = join_cluster(address)
    except RuntimeUnavailableError as error:
        if address is not None:
            raise ClusterError(str(error)) from error
        return None, []
    from dspex_ray.serving.running import serving_status  # noqa: PLC0415 - loads Ray Serve

    try:
        return found, serving_status()
    finally:
        disconnect_cluster()
