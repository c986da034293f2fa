"""`dspex audit list | verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from dspex_ray.access.audit import Head
from dspex_ray.access.audit import verify as verify_chain
from dspex_ray.cli.audit.cells import plain
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.store import audit_log, open_store


def list_(
    count: Annotated[int, typer.Option(min=1, max=10_000, help="At most the last so many.")] = 50,
    action: Annotated[str | None, typer.Option(help="Only these, such as key.revoke, or key for all of keys.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what was done to this, such as a key's id.")] = None,
    by: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the last management actions, the newest at the end."""
    with open_store(store).database.read() as connection:
        found = audit_log.latest(connection, count, action=action, subject=subject, by=by)
    if json:
        print_json({"entries": [one.to_json() for one in found]})
        return
    if not found:
        out.print("No such action is recorded.", markup=False)
        return
    table = Table("number", "at (UTC)", "by", "action", "subject", "details")
    for one in found:
        at = f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M:%S}"
        cells = (str(one.number), at, one.by, one.action, one.subject, one.details)
        table.add_row(*(plain(cell) for cell in cells))
    out.print(table)


def verify(
    head: Annotated[
        str | None, typer.Option(help="A head noted before, as NUMBER:HASH: finds entries cut off or written anew.")
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Follow the whole record; exit with 1 and name the first entry that is changed or missing."""
    noted = None if head is None else Head.parse(head)
    with open_store(store).database.read() as connection:
        end = verify_chain(audit_log.entries(connection), noted)
    if json:
        print_json({"whole": True, "entries": end.number, "head": str(end)})
        return
    out.print(f"The record is whole: {end.number} entries. Its head, to note elsewhere:", markup=False)
    out.print(str(end), markup=False, soft_wrap=True)
