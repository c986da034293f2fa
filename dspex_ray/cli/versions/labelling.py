"""`dspex versions label | rollback`: labels without a gate, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from dspex_agents.clock import SystemClock
from dspex_ray.cli.options import By, Debug, Json, ProgramPath, StoreUrl, Why, who
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import path_and_version
from dspex_ray.errors import UsageError
from dspex_ray.store import LabelMove, MoveLabel, open_store
from dspex_ray.store.labels import MoveKind, earlier


def rollback(
    program: ProgramPath,
    label: Annotated[str, typer.Option(help="Which label.")] = "production",
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a label name what it named before; again, and it goes back once more."""
    kept = open_store(store)
    path, which = path_and_version(program)
    if which is not None:
        raise UsageError(f"A label goes back to what it named before: give {path} without a version, got {program!r}.")
    if label not in kept.labels(path):
        kept.version(path)  # a program without versions, or none at all, says so itself
    to = earlier(kept.label_moves(path, label))
    if to is not None:
        kept.version(path, to)  # one that was changed after it was saved says so, before the label names it
    move = kept.rollback(path, label, by=who(by), now=SystemClock().now(), why=why)
    if json:
        print_json(move.to_json())
        return
    out.print(f"{label} of {path}: {_version(move.before)} -> {_version(move.after)}", markup=False)


def label(
    program: Annotated[str, typer.Argument(help="As module:Class[@version].", metavar="PROGRAM[@VERSION]")],
    name: Annotated[
        str | None, typer.Argument(help="The label to put there; without one, all moves are shown.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put a label on a version without a gate, take it away, or show every move of a program's labels."""
    kept = open_store(store)
    path, which = path_and_version(program)
    if name is None:
        kept.version(path, which or "latest")  # a program without versions, or none of that name, says so itself
        _tell(kept.label_moves(path), kept.labels(path), json=json)
        return
    if remove == (which is not None):
        raise UsageError("Name a version, as module:Class@7, to put the label on, or give --remove, not both.")
    to = None if which is None else kept.version(path, which).number
    kind: MoveKind = "remove" if remove else "label"
    ask = MoveLabel(program=path, label=name, kind=kind, to=to, by=who(by), at=SystemClock().now(), why=why)
    move = kept.move_label(ask)
    if json:
        print_json({"program": path, "label": name, "version": to, "moved": move is not None})
        return
    before = _version(move.before) if move else "there already"
    out.print(f"{name} of {path}: {before} -> {_version(to)}", markup=False)


def _tell(moves: Sequence[LabelMove], labels: dict[str, int], *, json: bool) -> None:
    if json:
        print_json({"labels": labels, "moves": [move.to_json() for move in moves]})
        return
    if not moves:
        out.print("No labels yet. Set one with `dspex versions promote` or `dspex versions label`.")
        return
    table = Table("label", "step", "by", "from", "to", "who", "when", "why")
    for move in moves:
        forced = " (forced)" if move.facts.get("forced") else ""
        row = (move.label, str(move.step), f"{move.kind}{forced}", _version(move.before), _version(move.after))
        table.add_row(*row, move.by, f"{datetime.fromtimestamp(move.at, UTC):%Y-%m-%d %H:%M}", move.why)
    out.print(table)


def _version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"
