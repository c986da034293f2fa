"""What long work shows to people: progress and notes on standard error, for terminals only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

err = Console(stderr=True, highlight=False, emoji=False)


def percent(value: float | None) -> str:
    """Return a share as a percentage, or a dash for none."""
    return "-" if value is None else f"{100 * value:.1f} %"


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar while inside; yields a function to be told (done, total, note). Silent off a terminal."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(title, total=None, note="")

        def tell(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield tell


def search_bar(tell: Callable[[int, int, str], None]) -> Callable[[Mapping[str, Any]], None]:
    """Return a progress callback for `optimize` that moves a bar from `bar`."""

    def show(state: Mapping[str, Any]) -> None:
        best, cost = state.get("best_score"), state.get("cost_usd") or 0.0
        note = f"best {percent(best)}, {state.get('rows_done', 0)} rows, ${cost:.4f}"
        tell(int(state.get("trials_done", 0)), int(state.get("trials_total", 0)), note)

    return show
