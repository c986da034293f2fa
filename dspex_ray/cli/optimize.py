"""`dspex optimize`: search for a better program on data, over agents."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from dspex_coordination.errors import SweepError
from dspex_coordination.optimizers import OPTIMIZERS
from dspex_coordination.sweep import CallsSpent, NoImprovement, StopRule, TimeSpent, any_of
from dspex_ray.cli.estimates import WantsEstimate, show_estimate
from dspex_ray.cli.options import Address, Debug, Json, Mapping, Metric, Model, ProgramPath, Settings, StoreUrl, Teacher
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.picks import Pick, picking, show_picked
from dspex_ray.cli.programs import instance, mapping_of
from dspex_ray.data import load_data
from dspex_ray.errors import UsageError
from dspex_ray.estimation import estimate as estimate_run
from dspex_ray.learning_report.changes import demos_told
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS
from dspex_ray.programs.program import Program
from dspex_ray.programs.sub_programs import predictors
from dspex_ray.store import open_store
from dspex_ray.terminal import bar, err, percent, search_bar

if TYPE_CHECKING:
    from dspex_ray.optimized import Optimized


def optimize(
    program: ProgramPath,
    data: Annotated[str, typer.Option(help="Labelled rows: a .csv, .jsonl, .json or .parquet file.")],
    trials: Annotated[int, typer.Option(help="The most candidates to try, the untuned program included.")] = 30,
    optimizer: Annotated[
        str,
        typer.Option(
            help=f"What also writes texts and demonstrations: {', '.join(PROGRAM_OPTIMIZERS)}. What chooses values: "
            f"{', '.join(sorted(OPTIMIZERS))}, or one within another, racing:genetic."
        ),
    ] = "auto",
    set_: Settings = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="A measure to make large or small: score, cost_usd, latency_s, ...; give it several times."),
    ] = None,
    pick: Pick = None,
    metric: Metric = None,
    validation: Annotated[str | None, typer.Option(help="Rows to choose by; default: a part of --data.")] = None,
    map_: Mapping = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0,
    budget_usd: Annotated[float | None, typer.Option(help="Ask for no more candidates once this is spent.")] = None,
    hard_budget_usd: Annotated[
        float | None, typer.Option(help="Send no call that could take the run beyond this; resume with a higher one.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Ask for no more candidates after so long.")] = None,
    calls: Annotated[int | None, typer.Option(help="Ask for no more candidates after so many model calls.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop when so many candidates in a row have brought nothing better.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Task agents, each in a process of its own.")] = 2,
    resume: Annotated[str | None, typer.Option(help="Go on with the interrupted run of this id.")] = None,
    fork: Annotated[str | None, typer.Option(help="Begin a new run with what the run of this id has found.")] = None,
    any_order: Annotated[
        bool, typer.Option("--any-order", help="Wait for no slow candidate; the result then depends on timing.")
    ] = False,
    estimate: WantsEstimate = False,
    runtime: Annotated[str, typer.Option(help="ray, or in-process for a debugger.")] = "ray",
    lm: Model = None,
    teacher: Teacher = None,
    prompt_lm: Annotated[
        str | None, typer.Option(help="The model that writes instructions; default: the program's own.")
    ] = None,
    address: Address = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for better values of a program's variables and keep the best as a new version.

    It runs on agents, on this machine's Ray cluster or a local one that ends with the command.
    Ctrl-C stops it and prints the command that goes on from there.
    """
    # a third of the time of `--help`
    from dspex_ray.cli.outlooks import expected, planned, show_outlook  # noqa: PLC0415 - see above
    from dspex_ray.optimization import optimize as optimize_program  # noqa: PLC0415 - see above
    from dspex_ray.search_outlook import Limits  # noqa: PLC0415 - see above

    kept, chooses = open_store(store), picking(pick)
    asked, _ = instance(program, None, lm, kept)
    options: dict[str, Any] = {
        "metric": metric,
        "optimizer": optimizer,
        "settings": _settings(set_),
        "teacher": teacher,
        "prompt_lm": prompt_lm,
        "objectives": objective or (),
        "stop": _stop_rule(minutes, calls, patience),
        "fork": fork,
        "reproducible": not any_order,
        "trials": trials,
        "budget_usd": budget_usd,
        "hard_budget_usd": hard_budget_usd,
        "validation": validation,
        "mapping": mapping_of(map_),
        "seed": seed,
        "resume": resume,
        "store": kept,
        "workers": workers,
        "runtime": runtime,
        "address": address,
    }
    rows = load_data(data, type(asked), mapping=mapping_of(map_))
    if estimate:
        planned(asked, rows, options)  # what is wrong with the request shows here too
        show_estimate(estimate_run(asked, data, mapping=mapping_of(map_), trials=trials, seed=seed), json=json)
        return
    ahead = None
    if resume is None:
        seconds = None if minutes is None else minutes * 60
        limits = Limits(usd=budget_usd, hard_usd=hard_budget_usd, calls=calls, seconds=seconds, patience=patience)
        ahead = expected(asked, rows, options, limits)
        if not json:
            show_outlook(ahead)
    with bar("optimize") as tell:
        result = optimize_program(asked, rows, progress=search_bar(tell), **options)
    if not json:
        _show(result, result.version.program)
    picked = None if chooses is None else chooses.found(result)
    if json:
        told = {"outlook": None if ahead is None else ahead.to_json(), "picked": picked}
        print_json({**result.to_json(), **told})
    elif picked is not None:
        show_picked(picked, result.version.program)


def _settings(pairs: Sequence[str] | None) -> dict[str, Any] | None:
    """Return `--set name=value` options as a mapping; a value that is no JSON is text."""
    if not pairs:
        return None
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise UsageError(f"--set takes name=value, got {pair!r}.")
        if name in found:
            raise UsageError(f"--set names the setting {name!r} twice.")
        try:
            found[name] = jsonlib.loads(value)
        except ValueError:
            found[name] = value
    return found


def _stop_rule(minutes: float | None, calls: int | None, patience: int | None) -> StopRule | None:
    try:
        rules: list[StopRule] = [
            *([] if minutes is None else [TimeSpent(minutes * 60)]),
            *([] if calls is None else [CallsSpent(calls)]),
            *([] if patience is None else [NoImprovement(patience)]),
        ]
    except SweepError as error:
        raise UsageError(str(error)) from error
    return any_of(*rules) if rules else None


def _show(result: Optimized, path: str) -> None:
    out.print(
        f"[bold]{percent(result.baseline)} -> {percent(result.score)}[/] (95 % interval {percent(result.low)} to "
        f"{percent(result.high)}) after {len(result.history)} trials, ${result.cost_usd:.4f}"
    )
    expected, gap = result.version.facts.get("expected"), result.version.facts.get("gap")
    if expected is not None:
        apart = "" if gap is None else f"; on rows it learnt from {100 * gap:+.1f} points"
        out.print(f"On new inputs expect about {percent(expected['score'])}{apart}.", markup=False)
    for name, value in {**_told(result.program), **result.program.values}.items():
        out.print(f"  {name} = {demos_told(value)}", markup=False, soft_wrap=True)
    if result.stopped_by:
        out.print(f"Stopped by {result.stopped_by}.", markup=False)
    if len(result.objectives) > 1:
        _show_front(result)
    out.print(f"Kept as version {result.version.number} of {path} (run {result.run_id}).", markup=False)
    for warning in result.warnings:
        err.print(warning, style="yellow", markup=False, soft_wrap=True)


def _told(program: Program) -> dict[str, str]:
    """Return what model calls are told, where that is not what their classes say; values of variables not among it."""
    return {
        f"{path}.instruction".lstrip("."): str(one.instruction)
        for path, one in predictors(program).items()
        if str(one.instruction) != str(type(one).instruction)
    }


def _show_front(result: Optimized) -> None:
    title = "No candidate beats these in all objectives"
    table = Table("trial", *(one.name for one in result.objectives), "version", title=title)
    versions = {one.facts["trial"]: str(one.number) for one in result.versions}
    for trial in result.pareto:
        measures = (f"{trial.measures[one.name]:.4g}" for one in result.objectives)
        table.add_row(str(trial.number), *measures, versions.get(trial.number, ""))
    out.print(table)
