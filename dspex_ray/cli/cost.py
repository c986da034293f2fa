"""`dspex cost`: what model calls cost, by program, run, model, version, trial or day."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError
from dspex_ray.store import COST_KEYS, CallFilter, CallTotals, CostLine, open_store

_FIGURES = ("calls", "failed", "cached", "unknown", "unpriced", "prompt_tokens", "completion_tokens", "cost_usd")


def cost(
    by: Annotated[
        str, typer.Option(help=f"What to tell costs by, with commas: {', '.join(COST_KEYS)}.")
    ] = "program,model",
    program: Annotated[str | None, typer.Option(help="Only calls of this program.", metavar="MODULE:CLASS")] = None,
    run: Annotated[str | None, typer.Option(help="Only calls of this run.")] = None,
    version: Annotated[str | None, typer.Option(help="Only calls of this version.")] = None,
    model: Annotated[str | None, typer.Option(help="Only calls of this model.")] = None,
    since: Annotated[str | None, typer.Option(help="From this day or time (UTC) on, such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this day or time (UTC).")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the lines to this file, whole.")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what model calls cost. Calls without a known price are counted apart and are in no sum."""
    keys = tuple(name.strip() for name in by.split(",") if name.strip())
    which = CallFilter(program=program, run=run, version=version, model=model, since=_time(since), until=_time(until))
    lines = open_store(store).costs(keys, which)
    if csv_file is not None:
        _write(csv_file, keys, lines)
    if json:
        print_json({"by": list(keys), "lines": [_flat(line) for line in lines], "total": _figures(_sum(lines))})
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
    notes = [(total.failed, "failed"), (total.cached, "from the cache"), (total.unpriced, "without a known price")]
    told = [f"{count:,} {what}" for count, what in notes if count]
    if told:
        out.print(f"Of these calls: {', '.join(told)}.")


def _cells(totals: CallTotals) -> tuple[str, ...]:
    figures = (totals.calls, totals.prompt_tokens, totals.completion_tokens)
    return *(f"{figure:,}" for figure in figures), f"${totals.cost_usd:,.4f}"


def _sum(lines: list[CostLine]) -> CallTotals:
    return CallTotals(**{name: sum(getattr(line.totals, name) for line in lines) for name in _FIGURES})


def _figures(totals: CallTotals) -> dict[str, Any]:
    return {name: getattr(totals, name) for name in _FIGURES}


def _flat(line: CostLine) -> Mapping[str, Any]:
    return {**line.group, **_figures(line.totals)}


def _write(path: Path, keys: tuple[str, ...], lines: list[CostLine]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*keys, *_FIGURES])
            writer.writeheader()
            writer.writerows(_flat(line) for line in lines)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error}.") from error


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day or time; write it like 2026-11-01 or 2026-11-01T12:30.") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
