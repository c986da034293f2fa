"""`dspex versions`: the programs that optimisation made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, percent, print_json
from dspex_ray.store import open_store


def versions(
    program: Annotated[str | None, typer.Argument(help="Only this program's.", metavar="MODULE:CLASS")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the versions in the store, oldest first."""
    found = open_store(store).versions(program)
    if json:
        print_json({"versions": [version.to_json() for version in found]})
        return
    if not found:
        of = f" of {program}" if program else ""
        out.print(f"No versions{of} yet. Make one with `dspex optimize`.", markup=False)
        return
    table = Table("program", "version", "score", "baseline", "trials", "cost", "made")
    for version in found:
        facts = version.facts
        made = datetime.fromtimestamp(version.created_at, UTC)
        table.add_row(
            version.program,
            str(version.number),
            f"{percent(facts.get('score'))} [dim]({percent(facts.get('low'))} to {percent(facts.get('high'))})[/]",
            percent(facts.get("baseline")),
            str(facts.get("trials", "-")),
            f"${facts.get('cost_usd', 0.0):.4f}",
            f"{made:%Y-%m-%d %H:%M}",
        )
    out.print(table)
