"""`dspex demo`: the whole path in a minute, offline and without a key."""

from __future__ import annotations

from rich.console import Console

from dspex_ray.cli.options import Debug, Json
from dspex_ray.cli.output import out, print_json
from dspex_ray.terminal import bar, search_bar


def demo(json: Json = False, debug: Debug = False) -> None:
    """Show the whole path: score, optimise, run as agents, kill one, serve over HTTP. No key, no network."""
    from dspex_ray.demo.tour import tour  # noqa: PLC0415 - loads ray

    with bar("optimize") as tell:
        report = tour(Console(quiet=True) if json else out, search_bar(tell))
    if json:
        print_json(report.to_json())
    else:
        out.print(f"\nDone in {report.wall_s:.0f} s. Your turn: README.md, `dspex optimize`, `dspex deploy`.")
