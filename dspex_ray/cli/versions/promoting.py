"""`dspex versions promote`: a label moves to a version that has shown itself on held-out rows."""

from __future__ import annotations

from typing import Annotated

import typer

from dspex_agents.clock import SystemClock
from dspex_ray.cli.interrupt import StoppedError
from dspex_ray.cli.options import By, Debug, Json, Mapping, Metric, Model, StoreUrl, Why, who
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import mapping_of, path_and_version
from dspex_ray.evaluation import EvaluationInterruptedError
from dspex_ray.store import open_store
from dspex_ray.terminal import bar, err, percent
from dspex_ray.versions.gate import Gate
from dspex_ray.versions.promotion import HeldOut, Promotion
from dspex_ray.versions.promotion import promote as promote_version

_REFUSED = 1


def promote(
    program: Annotated[str, typer.Argument(help="As module:Class[@version].", metavar="PROGRAM[@VERSION]")],
    to: Annotated[str, typer.Option(help="The label to move, such as production or staging.")] = "production",
    data: Annotated[str | None, typer.Option(help="Labelled rows that no version has learnt from.")] = None,
    metric: Metric = None,
    map_: Mapping = None,
    min_gain: Annotated[float, typer.Option(help="Refuse a gain of less than this share.")] = 0.0,
    max_drop: Annotated[float | None, typer.Option(help="Refuse what may lose more than this share.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Move it whatever is found; that is recorded.")] = False,
    why: Why = "",
    by: By = None,
    lm: Model = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Move a label to a version, the latest if none is named, unless it does worse on held-out rows than the one there.

    A refusal ends with exit code 1.
    """
    kept = open_store(store)
    path, which = path_and_version(program)
    with bar("held-out rows") as tell:
        held_out = None
        if data is not None:
            held_out = HeldOut(
                data=data,
                metric=metric,
                mapping=mapping_of(map_),
                lm=lm,
                progress=lambda done, total: tell(done, total, ""),
            )
        try:
            found = promote_version(
                kept,
                path,
                which or "latest",
                label=to,
                held_out=held_out,
                by=who(by),
                now=SystemClock().now(),
                gate=Gate(min_gain=min_gain, max_drop=max_drop),
                force=force,
                why=why,
            )
        except EvaluationInterruptedError as pressed:
            raise StoppedError("Interrupted; the label was not moved.") from pressed
    if json:
        print_json(found.to_json())
    else:
        _show(found)
    if found.refusals and found.move is None:
        raise typer.Exit(_REFUSED)


def _show(found: Promotion) -> None:
    name = f"{found.version.program} version {found.version.number}"
    if found.held_out is not None:
        scored = found.held_out
        gap = ""
        if found.gap is not None:
            where = "below" if found.gap >= 0 else "above"
            gap = f", {100 * abs(found.gap):.1f} points {where} the score it was chosen by"
        out.print(
            f"{name}: {percent(scored.mean)} ({percent(scored.low)} to {percent(scored.high)}) on {scored.rows} "
            f"held-out rows{gap}",
            markup=False,
        )
    if found.comparison is not None:
        one = found.comparison
        out.print(
            f"Against version {found.before} ({percent(one.first)}): {100 * one.difference:+.1f} points "
            f"({100 * one.low:+.1f} to {100 * one.high:+.1f})",
            markup=False,
        )
    if found.refusals:
        verdict = "Refused" if found.move is None else "Forced"
        err.print(f"{verdict}: {'; '.join(found.refusals)}.", style="yellow", markup=False)
    if found.move is not None:
        out.print(f"{found.label} now names version {found.version.number}.", markup=False)
    elif not found.refusals:
        out.print(f"{found.label} names version {found.version.number} already.", markup=False)
