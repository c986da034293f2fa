"""`dspex run`: one input through a program in this process."""

from __future__ import annotations

from typing import Annotated

import typer

from dspex_ray.calls import recording, tagged
from dspex_ray.cli.options import Debug, Json, Model, ProgramPath, StoreUrl, WhichVersion
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import fields_of, instance
from dspex_ray.store import open_store


def run(
    program: ProgramPath,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="The input, field by field.", metavar="FIELD=VALUE")
    ] = None,
    version: WhichVersion = None,
    lm: Model = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer one input and show what it cost.

    Give the input field by field: dspex run shop:Route message="Where is my card?" urgent=true
    A value is read as JSON where its field is no text.
    """
    kept = open_store(store)
    loaded, label = instance(program, version, lm, kept)
    fields = fields_of(inputs or [], loaded.Input)
    with recording() as log, tagged(version=label):
        try:
            output = loaded.run(**fields)
        finally:
            kept.record_calls([record.as_row() for record in log.records])
    answer = output.model_dump(mode="json")
    if json:
        print_json({"output": answer, "version": label, "cost_usd": log.cost_usd, "calls": len(log.records)})
        return
    for name, value in answer.items():
        out.print(f"[bold]{name}[/]: ", end="")
        out.print(str(value), markup=False)
    out.print(f"[dim]version {label}, {len(log.records)} model calls, ${log.cost_usd:.6f}[/]")
