"""`dspex status`: what is served, what is kept, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from dspex_ray.cli.cluster import cluster
from dspex_ray.cli.options import Debug, Json, RunningAddress, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import ClusterError
from dspex_ray.store import open_store


def status(
    address: RunningAddress = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the endpoints of the cluster, and what the store holds. Starts nothing."""
    kept = open_store(store)
    found, endpoints = _cluster(address)
    totals, versions = kept.totals(), kept.versions()
    if json:
        print_json(
            {
                "cluster": found,
                "endpoints": endpoints,
                "store": repr(kept.database),
                "versions": len(versions),
                "calls": totals.calls,
                "cost_usd": totals.cost_usd,
            }
        )
        return
    out.print(f"cluster: {found or 'none on this machine'}")
    table = Table("endpoint", "url", "status", "version", "replicas", "traffic")
    for entry in endpoints:
        row = (str(entry[key]) for key in ("name", "url", "status", "version", "replicas"))
        table.add_row(*row, _traffic(entry["traffic"]))
    if endpoints:
        out.print(table)
    else:
        out.print("endpoints: none")
    out.print(f"store: {len(versions)} versions, {totals.calls} model calls, ${totals.cost_usd:.4f}")


def _traffic(told: Mapping[str, Any]) -> str:
    """Return the shares that an endpoint tells, such as `3 0.9, 4 0.1`, and what keeps it from a newer plan."""
    shares = ", ".join(f"{version} {share:.4g}" for version, share in told.get("shares", {}).items())
    shadows = "".join(f", {version} looks on" for version in told.get("shadows", {}))
    wrong = f" (not in force: {told['wrong']})" if "wrong" in told else ""
    return f"{shares}{shadows}{wrong}"


def _cluster(address: str | None) -> tuple[str | None, list[dict[str, Any]]]:
    try:
        with cluster(address, may_start=False) as found:
            from dspex_ray.serving.running import serving_status  # noqa: PLC0415 - loads Ray Serve

            return found, serving_status()
    except ClusterError:
        if address is not None:
            raise
        return None, []
