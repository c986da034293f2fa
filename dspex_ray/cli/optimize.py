"""`dspex optimize`: search for a better program on data, over agents."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dspex_ray.cli.options import Address, Debug, Json, Mapping, Metric, Model, ProgramPath, StoreUrl
from dspex_ray.cli.output import bar, err, out, percent, print_json, search_bar
from dspex_ray.cli.programs import mapping_of
from dspex_ray.optimization import optimize as optimize_program
from dspex_ray.optimized import Optimized
from dspex_ray.program_ref import load_program
from dspex_ray.store import open_store


def optimize(
    program: ProgramPath,
    data: Annotated[str, typer.Option(help="Labelled rows: a .csv, .jsonl, .json or .parquet file.")],
    trials: Annotated[int, typer.Option(help="The most candidates to try, the untuned program included.")] = 30,
    optimizer: Annotated[str, typer.Option(help="auto, bootstrap or random.")] = "auto",
    metric: Metric = None,
    validation: Annotated[str | None, typer.Option(help="Rows to choose by; default: a part of --data.")] = None,
    map_: Mapping = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0,
    budget_usd: Annotated[float | None, typer.Option(help="Ask for no more candidates once this is spent.")] = None,
    workers: Annotated[int, typer.Option(help="Task agents, each in a process of its own.")] = 2,
    resume: Annotated[str | None, typer.Option(help="Go on with the interrupted run of this id.")] = None,
    runtime: Annotated[str, typer.Option(help="ray, or in-process for a debugger.")] = "ray",
    lm: Model = None,
    address: Address = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for better values of a program's variables and keep the best as a new version.

    It runs on agents, on this machine's Ray cluster or a local one that ends with the command.
    Ctrl-C stops it and prints the command that goes on from there.
    """
    kept = open_store(store)
    loaded = load_program(program)()
    options: dict[str, Any] = {
        "metric": metric,
        "optimizer": optimizer,
        "trials": trials,
        "budget_usd": budget_usd,
        "validation": validation,
        "mapping": mapping_of(map_),
        "seed": seed,
        "resume": resume,
        "store": kept,
        "workers": workers,
        "runtime": runtime,
        "address": address,
    }
    with bar("optimize") as tell:
        result = optimize_program(loaded.with_lm(lm) if lm else loaded, data, progress=search_bar(tell), **options)
    if json:
        print_json(result.to_json())
        return
    _show(result, program)


def _show(result: Optimized, path: str) -> None:
    out.print(
        f"[bold]{percent(result.baseline)} -> {percent(result.score)}[/] (95 % interval {percent(result.low)} to "
        f"{percent(result.high)}) after {len(result.history)} trials, ${result.cost_usd:.4f}"
    )
    for name, value in result.program.values.items():
        out.print(f"  {name} = {value}", markup=False)
    out.print(f"Kept as version {result.version.number} of {path} (run {result.run_id}).", markup=False)
    if result.baseline is not None and result.score <= result.baseline:
        err.print("No candidate was better than the untuned program.", style="yellow")
