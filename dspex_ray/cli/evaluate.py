"""`dspex evaluate`: a program's score on labelled rows, with an interval."""

from __future__ import annotations

from typing import Annotated

import typer

from dspex_ray.calls import recording, tagged
from dspex_ray.cli.options import Debug, Json, Mapping, Metric, Model, ProgramPath, StoreUrl, WhichVersion
from dspex_ray.cli.output import bar, out, percent, print_json
from dspex_ray.cli.programs import instance, mapping_of
from dspex_ray.evaluation import evaluate as evaluate_program
from dspex_ray.store import open_store


def evaluate(
    program: ProgramPath,
    data: Annotated[str, typer.Option(help="Labelled rows: a .csv, .jsonl, .json or .parquet file.")],
    version: WhichVersion = None,
    map_: Mapping = None,
    metric: Metric = None,
    limit: Annotated[int | None, typer.Option(help="Only the first rows.")] = None,
    concurrency: Annotated[int, typer.Option(help="Rows under way at once.")] = 16,
    lm: Model = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a program on labelled rows."""
    kept = open_store(store)
    loaded, label = instance(program, version, lm, kept)
    with bar("evaluate") as tell, recording() as log, tagged(version=label):
        try:
            result = evaluate_program(
                loaded,
                data,
                metric=metric,
                mapping=mapping_of(map_),
                limit=limit,
                concurrency=concurrency,
                progress=lambda done, total: tell(done, total, ""),
            )
        finally:
            kept.record_calls([record.as_row() for record in log.records])
    if json:
        print_json({"program": program, "version": label, **result.to_json()})
        return
    out.print(
        f"[bold]{percent(result.accuracy)}[/] (95 % interval {percent(result.low)} to {percent(result.high)}) on "
        f"{result.rows} rows, version {label}"
    )
    out.print(
        f"[dim]{result.errors} errors, {result.calls} model calls, ${result.cost_usd:.4f}, {result.wall_s:.1f} s[/]"
    )
