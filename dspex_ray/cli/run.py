"""`dspex run`: one input through a program in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from dspex_ray.calls import tagged
from dspex_ray.calls.ledger_context import ledger
from dspex_ray.cli.options import Debug, Json, Model, ProgramPath, StoreUrl, WhichVersion
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import fields_of, instance
from dspex_ray.programs.program import Program
from dspex_ray.store import open_store
from dspex_ray.streaming import stream as pieces_of
from dspex_ray.tracing.joining import keep_in


def run(
    program: ProgramPath,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="The input, field by field.", metavar="FIELD=VALUE")
    ] = None,
    version: WhichVersion = None,
    lm: Model = None,
    store: StoreUrl = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Show the model's words as they come; with --json one object for each piece."),
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer one input and show what it cost.

    Give the input field by field: dspex run shop:Route message="Where is my card?" urgent=true
    A value is read as JSON where its field is no text.
    """
    kept = open_store(store)
    keep_in(kept)
    loaded, label = instance(program, version, lm, kept)
    fields = fields_of(inputs or [], loaded.Input)
    with ledger(kept) as log, tagged(version=label):
        output = _streamed(loaded, fields, json=json) if stream else loaded.run(**fields)
    answer = output.model_dump(mode="json")
    if json:
        print_json({"output": answer, "version": label, "cost_usd": log.cost_usd, "calls": len(log.records)})
        return
    for name, value in answer.items():
        out.print(f"[bold]{name}[/]: ", end="")
        out.print(str(value), markup=False)
    out.print(f"[dim]version {label}, {len(log.records)} model calls, ${log.cost_usd:.6f}[/]")


def _streamed(program: Program, fields: Mapping[str, Any], *, json: bool) -> Any:
    """Show the pieces as they come and return the output."""
    spoke: int | None = None  # the call whose words stand last on the screen
    output: Any = None
    for piece in pieces_of(program, fields):
        output = piece.output
        if json and output is None:
            print_json(piece.as_json())
        elif not json and (piece.delta or piece.restarted):
            if piece.call != spoke:
                out.print("" if spoke is None else "\n", end="")
                out.print(f"[dim]{piece.place or 'the model'}:[/] ", end="")
            elif piece.restarted:
                out.print("\n[dim]that was no valid answer; again:[/] ", end="")
            spoke = piece.call
            out.print(piece.delta, markup=False, end="", soft_wrap=True)
    if spoke is not None:
        out.print()
    return output
