"""What `--estimate` prints instead of a run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from dspex_ray.cli.output import out, print_json
from dspex_ray.estimation import Estimate, Range

WantsEstimate = Annotated[
    bool, typer.Option("--estimate", help="Say what calls, tokens and money it would take; ask and spend nothing.")
]


def show_estimate(found: Estimate, *, json: bool) -> None:
    """Print an estimate."""
    if json:
        print_json({"estimate": found.to_json()})
        return
    table = Table("", "at least", "likely", "at most")
    for name, figures in (
        ("rows scored", found.rows),
        ("model calls", found.calls),
        ("tokens in", found.prompt_tokens),
        ("tokens out", found.completion_tokens),
    ):
        table.add_row(name, *(f"{value:,.0f}" for value in _ends(figures)))
    if found.cost_usd is not None:
        table.add_row("cost", *(f"${value:,.4f}" for value in _ends(found.cost_usd)))
    out.print(table)
    priced = f"Prices from {found.priced_by}." if found.cost_usd is not None else f"{found.model} has no known price."
    out.print(f"For {found.model}. {priced} Replies are guessed: nothing was asked.", markup=False)


def _ends(figures: Range) -> tuple[float, float, float]:
    return figures.low, figures.likely, figures.high
