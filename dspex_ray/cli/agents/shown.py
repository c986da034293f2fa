"""Printing what must not be cut: a pipe has no width."""

from __future__ import annotations

from rich.console import Console, RenderableType

from dspex_ray.cli.output import out

_WIDE = 2000


def show(renderable: RenderableType) -> None:
    """Print within the terminal's width, and off a terminal as wide as it is."""
    console = out if out.is_terminal else Console(file=out.file, width=_WIDE, highlight=False)
    console.print(renderable)
