"""`dspex trace`: what a run, a request or any trace did, as a tree of spans."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.trace_view import as_json, as_table, notes, said
from dspex_ray.errors import UsageError
from dspex_ray.store import open_store
from dspex_ray.terminal import err
from dspex_ray.tracing.lookup import FoundTrace, find_trace
from dspex_ray.tracing.otlp_json import otlp_json
from dspex_ray.tracing.tree import selected, span_trees


def trace(
    name: Annotated[str, typer.Argument(help="A run id, request id or trace id, or `latest`.", metavar="ID")],
    limit: Annotated[int, typer.Option(help="How many spans to show, the upper ones first.", min=1)] = 200,
    slowest: Annotated[bool, typer.Option("--slowest", help="The longest first, not the earliest.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Only branches in which something failed.")] = False,
    content: Annotated[bool, typer.Option("--content", help="Show what was said, where it was kept.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the spans to this file as OTLP JSON.", metavar="FILE.json")
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the spans of a run, request or trace as a tree: durations, tokens, cost, errors."""
    found = find_trace(open_store(store), name)
    if export is not None:
        _write(export, found)
    roots = selected(span_trees(found.spans), limit, errors=errors, slowest=slowest)
    if json:
        print_json({"id": found.name, "source": found.source, "total": found.total, "spans": as_json(roots)})
        return
    if not roots:
        out.print("Nothing in it failed.")
        return
    out.print(as_table(roots, content=content))
    for line in (*(said(roots) if content else ()), *notes(found, roots, content=content)):
        out.print(line, markup=False, soft_wrap=True)


def _write(path: Path, found: FoundTrace) -> None:
    try:
        path.write_text(json_text.dumps(otlp_json(found.spans)) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error}.") from error
    err.print(f"Wrote {len(found.spans):,} spans to {path}.", markup=False)
