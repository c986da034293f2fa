"""`dspex evaluate`: a program's score on labelled rows, with an interval, also against another program or version."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dspex_ray.calls import tagged
from dspex_ray.calls.ledger_context import ledger
from dspex_ray.cli.estimates import WantsEstimate, show_estimate
from dspex_ray.cli.interrupt import StoppedError
from dspex_ray.cli.options import Debug, Json, Mapping, Model, ProgramPath, StoreUrl, WhichVersion
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import instance, mapping_of
from dspex_ray.comparison import Comparison, compare
from dspex_ray.data import Dataset, duplicates, load_data
from dspex_ray.data_files import Take
from dspex_ray.errors import UsageError
from dspex_ray.estimation import estimate as estimate_run
from dspex_ray.evaluation import Evaluation, EvaluationInterruptedError
from dspex_ray.evaluation import evaluate as evaluate_program
from dspex_ray.evaluation_report.table import ROW_ENDINGS
from dspex_ray.evaluation_report.writing import require_place
from dspex_ray.metrics import default_metric, resolve_metric
from dspex_ray.programs.program import Program
from dspex_ray.store import Store, open_store
from dspex_ray.terminal import bar, err, percent
from dspex_ray.tracing.joining import keep_in

_METRICS = (
    "exact, contains, f1, numeric, semantic, judge, with options as in numeric(tolerance=0.01), or module:function."
)


def evaluate(
    program: ProgramPath,
    data: Annotated[
        str, typer.Option(help="Labelled rows: a .csv, .tsv, .jsonl, .json or .parquet file, or a pattern of names.")
    ],
    version: WhichVersion = None,
    against: Annotated[
        str | None,
        typer.Option(help="Compare with module:Class[@version], or with a version of the same program, or `untuned`."),
    ] = None,
    map_: Mapping = None,
    metric: Annotated[str | None, typer.Option(help=f"{_METRICS} By default exact on labelled fields.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first rows.")] = None,
    sample: Annotated[int | None, typer.Option(help="Only so many rows, drawn from all.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    encoding: Annotated[str | None, typer.Option(help="Of a text file; by default its mark's, else UTF-8.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of a CSV file; by default what its header shows.")] = None,
    report: Annotated[str | None, typer.Option(help="Write a report to this .html file.")] = None,
    rows: Annotated[str | None, typer.Option(help="Write every row to this .csv or .jsonl file.")] = None,
    concurrency: Annotated[int, typer.Option(help="Rows under way at once.")] = 16,
    estimate: WantsEstimate = False,
    lm: Model = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a program on labelled rows."""
    for path, endings in ((report, (".html", ".htm")), (rows, ROW_ENDINGS)):
        if path is not None:
            require_place(path, endings)
    kept = open_store(store)
    keep_in(kept)
    loaded, label = instance(program, version, lm, kept)
    other = None if against is None else _other(program, against, lm, kept)
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}.")
    take = Take(limit, sample, seed)

    def read(one: Program) -> Dataset:
        mapping = mapping_of(map_)
        return load_data(data, type(one), mapping=mapping, take=take, encoding=encoding, delimiter=delimiter)

    dataset = read(loaded)
    chosen = resolve_metric(metric) if metric is not None else default_metric(type(loaded), dataset)
    if estimate:
        show_estimate(estimate_run(loaded, dataset), json=json)
        return
    run = _Run(kept, {"metric": chosen, "concurrency": concurrency}, report, rows)
    _warn(duplicates(dataset).conflicting)
    result = run(loaded, label, dataset)
    _written(result, report, rows)
    compared = None
    if other is not None:
        compared = compare(run(*other, read(other[0])), result, by="row")
    if json:
        shown: dict[str, Any] = {**result.to_json(), "program": program, "version": label}
        print_json(shown if compared is None or other is None else shown | _against_json(other, compared))
        return
    _show(result, label)
    if compared is not None and other is not None:
        _show_comparison(compared, other[1])


class _Run:
    """Evaluates programs under the same settings and keeps the records of their calls."""

    def __init__(self, store: Store, settings: dict[str, Any], report: str | None, rows: str | None) -> None:
        self._store, self._settings, self._report, self._rows = store, settings, report, rows

    def __call__(self, program: Program, label: str, dataset: Dataset) -> Evaluation:
        with bar(f"evaluate {label}") as tell, ledger(self._store), tagged(version=label):
            try:
                return evaluate_program(
                    program, dataset, progress=lambda done, total: tell(done, total, ""), **self._settings
                )
            except EvaluationInterruptedError as pressed:
                if pressed.evaluation is not None:
                    _written(pressed.evaluation, self._report, self._rows)
                raise StoppedError(f"{pressed} There is nothing to resume.") from pressed


def _other(program: str, against: str, lm: str | None, store: Store) -> tuple[Program, str]:
    if ":" not in against:
        return instance(program, None if against == "untuned" else against, lm, store)
    path, _, version = against.partition("@")
    return instance(path, version or None, lm, store)


def _written(result: Evaluation, report: str | None, rows: str | None) -> None:
    if report is not None:
        result.write_report(report, title=f"Evaluation of {result.program}")
    if rows is not None:
        result.write_rows(rows)


def _warn(conflicting: tuple[tuple[int, ...], ...]) -> None:
    if conflicting:
        first = " and ".join(str(position + 1) for position in conflicting[0][:3])
        err.print(
            f"{len(conflicting)} inputs occur with different outputs, first in rows {first}: no program can answer all "
            "of them rightly.",
            style="yellow",
        )


def _show(result: Evaluation, label: str) -> None:
    out.print(
        f"[bold]{percent(result.accuracy)}[/] (95 % interval {percent(result.low)} to {percent(result.high)}) on "
        f"{result.rows} rows, version {label}"
    )
    judged = f" (${result.metric_cost_usd:.4f} by the metric)" if result.metric_cost_usd else ""
    out.print(
        f"[dim]{result.errors} errors, {result.calls} model calls, ${result.cost_usd:.4f}{judged}, "
        f"{result.wall_s:.1f} s[/]"
    )
    if result.leaked_rows:
        err.print(
            f"{result.leaked_rows} of the rows are among the program's demonstrations; the score is too high for new "
            "ones.",
            style="yellow",
        )


def _show_comparison(found: Comparison, label: str) -> None:
    verdict = {"second": "better", "first": "worse", None: "no sure difference"}[found.winner]
    out.print(
        f"Against {label} ({percent(found.first)}): {100 * found.difference:+.1f} points (95 % interval "
        f"{100 * found.low:+.1f} to {100 * found.high:+.1f}), {verdict}",
        markup=False,
    )
    out.print(
        f"{found.better} rows better, {found.worse} worse, {found.equal} equal; {found.test}: p = {found.p_value:.3g}; "
        f"${found.cost_difference:+.6f} and {found.latency_difference:+.3f} s a row",
        markup=False,
    )


def _against_json(other: tuple[Program, str], found: Comparison) -> dict[str, Any]:
    return {"against": {"program": other[0].path, "version": other[1]}, "comparison": found.to_json()}
