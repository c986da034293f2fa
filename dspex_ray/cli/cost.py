"""`dspex cost`: what model calls cost, by whatever they were made for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.table import Table

from dspex_ray.calls.record import Status
from dspex_ray.cli.cost_files import ENDINGS, require_ending, write
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.lm.prices import price_table
from dspex_ray.store import CALL_COLUMNS, COST_KEYS, CallFilter, CallTotals, CostLine, open_store

_FIGURES = ("calls", "failed", "cached", "unknown", "unpriced", "prompt_tokens", "completion_tokens", "cost_usd")


def cost(
    by: Annotated[
        str, typer.Option(help=f"What to tell costs by, with commas: {', '.join(COST_KEYS)}.")
    ] = "program,model",
    program: Annotated[str | None, typer.Option(help="Only calls of this program.", metavar="MODULE:CLASS")] = None,
    run: Annotated[str | None, typer.Option(help="Only calls of this run.")] = None,
    version: Annotated[str | None, typer.Option(help="Only calls of this version.")] = None,
    model: Annotated[str | None, typer.Option(help="Only calls of this model.")] = None,
    module: Annotated[str | None, typer.Option(help="Only calls of the sub-program at this place.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only calls of this agent.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only calls made for this tenant.")] = None,
    status: Annotated[str | None, typer.Option(help="Only calls that are ok, error, cached or unknown.")] = None,
    since: Annotated[str | None, typer.Option(help="From this day or time (UTC) on, such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this day or time (UTC).")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="As --export, to a .csv file.")] = None,
    export: Annotated[
        Path | None, typer.Option(help=f"Write the lines to this file, whole: {', '.join(ENDINGS)}.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Write every call to the exported file, not the sums.")] = False,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what model calls cost. Calls without a known price are counted apart and are in no sum.

    Unknown calls were under way when their process was killed: they may have been paid for.
    """
    keys = tuple(name.strip() for name in by.split(",") if name.strip())
    which = CallFilter(
        program=program,
        run=run,
        version=version,
        model=model,
        module=module,
        agent=agent,
        tenant=tenant,
        status=_checked(status),
        since=_time(since),
        until=_time(until),
    )
    files = [path for path in (csv_file, export) if path is not None]
    if each and not files:
        raise UsageError("--each writes every call to a file; name one: --export calls.csv.")
    for path in files:
        require_ending(path)
    kept = open_store(store)
    lines = kept.costs(keys, which)
    for path in files:
        rows = kept.single_calls(which) if each else (_flat(line) for line in lines)
        write(path, CALL_COLUMNS if each else (*keys, *_FIGURES), rows)
    if json:
        told = {"by": list(keys), "lines": [_flat(line) for line in lines], "total": _figures(_sum(lines))}
        print_json({**told, "prices": {"source": price_table().source, "dated": price_table().dated}})
        return
    _show(keys, lines)


def _show(keys: tuple[str, ...], lines: list[CostLine]) -> None:
    if not lines:
        out.print("No model call that fits is in the store.")
        return
    table = Table(*keys)
    for name in ("calls", "tokens in", "tokens out", "cost"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*("-" if line.group[key] is None else str(line.group[key]) for key in keys), *_cells(line.totals))
    table.add_section()
    total = _sum(lines)
    table.add_row(*(("in all", *("" for _ in keys[1:])) if keys else ()), *_cells(total), style="bold")
    out.print(table)
    notes = [
        (total.failed, "failed"),
        (total.cached, "from the cache"),
        (total.unknown, "of unknown outcome, under way when their process was killed"),
        (total.unpriced, "without a known price"),
    ]
    told = [f"{count:,} {what}" for count, what in notes if count]
    if told:
        out.print(f"Of these calls: {', '.join(told)}.")
    out.print(f"[dim]Prices as of each call; now from {price_table()}.[/]")


def _cells(totals: CallTotals) -> tuple[str, ...]:
    figures = (totals.calls, totals.prompt_tokens, totals.completion_tokens)
    return *(f"{figure:,}" for figure in figures), f"${totals.cost_usd:,.4f}"


def _sum(lines: list[CostLine]) -> CallTotals:
    return CallTotals(**{name: sum(getattr(line.totals, name) for line in lines) for name in _FIGURES})


def _figures(totals: CallTotals) -> dict[str, Any]:
    return {name: getattr(totals, name) for name in _FIGURES}


def _flat(line: CostLine) -> Mapping[str, Any]:
    return {**line.group, **_figures(line.totals)}


def _checked(status: str | None) -> str | None:
    if status is not None and status not in get_args(Status):
        raise UnknownNameError("status of calls", status, get_args(Status))
    return status


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day or time; write it like 2026-11-01 or 2026-11-01T12:30.") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
