"""`dspex versions list | show | diff`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from dspex_coordination.errors import near_matches
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import path_and_version
from dspex_ray.cli.sweeps.figures import figure
from dspex_ray.problems import shown
from dspex_ray.store import Version, open_store
from dspex_ray.terminal import percent
from dspex_ray.versions.contents import other_values, shown_in, told_in
from dspex_ray.versions.diff import Demonstrations, VersionDiff
from dspex_ray.versions.diff import diff as difference

Named = Annotated[str, typer.Argument(help="As module:Class, or module:Class@version.", metavar="PROGRAM[@VERSION]")]
_COLOURS = {"same": "", "removed": "red strike", "added": "green"}
_MARKS = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}


def list_(
    program: Annotated[str | None, typer.Argument(help="Only this program's.", metavar="MODULE:CLASS")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the versions in the store, oldest first, with the labels on them."""
    kept = open_store(store)
    found = kept.versions(program)
    labels = {path: kept.labels(path) for path in dict.fromkeys(one.program for one in found)}
    if json:
        print_json({"versions": [_listed(one, labels) for one in found]})
        return
    if not found:
        of = f" of {program}" if program else ""
        others = {one.program for one in kept.versions()}
        known = f" {near_matches(program, others)}" if program and others else ""
        out.print(f"No versions{of} yet. Make one with `dspex optimize`.{known}", markup=False)
        return
    table = Table("program", Column("version", no_wrap=True), "score", "baseline", "trials", "cost", "made")
    for version in found:
        facts = version.facts
        made = datetime.fromtimestamp(version.created_at, UTC)
        table.add_row(
            version.program,
            "\n".join((str(version.number), *_labels(labels, version))),
            f"{percent(facts.get('score'))} [dim]({percent(facts.get('low'))} to {percent(facts.get('high'))})[/]"
            + "".join(f"\n{told}" for told in _measured(version))
            + ("" if version.is_sealed else "\n[red]changed after it was saved[/]"),
            percent(facts.get("baseline")),
            str(facts.get("trials", "-")),
            f"${facts.get('cost_usd', 0.0):.4f}",
            f"{made:%Y-%m-%d %H:%M}",
        )
    out.print(table)


def show(program: Named, store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """Show what a version is, what it was made of, and how it did; the latest if none is named."""
    kept = open_store(store)
    path, which = path_and_version(program)
    version = kept.version(path, which or "latest")
    labels = _labels({path: kept.labels(path)}, version)
    if json:
        print_json({**version.to_json(), "labels": labels, "state": version.state})
        return
    out.print(f"{path} version {version.number}", style="bold", markup=False)
    for name, text in {**_origin(version), "labels": ", ".join(labels) or "none"}.items():
        out.print(f"  {name}: {text}", markup=False)
    for place, text in told_in(version).items():
        out.print(f"told{f' ({place})' if place else ''}: {text}", markup=False)
    for name, one in shown_in(version).items():
        out.print(f"{name}: {one.select}, {len(one.demos)} demonstrations", markup=False)
    for name, value in other_values(version).items():
        out.print(f"{name} = {value}", markup=False)


def diff(
    program: Annotated[str, typer.Argument(help="The program, as module:Class.", metavar="MODULE:CLASS")],
    first: Annotated[str, typer.Argument(help="A number, label, hash or `latest`.")],
    second: Annotated[str, typer.Argument(help="Likewise.")] = "latest",
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what differs from one version to another."""
    kept = open_store(store)
    found = difference(kept.version(program, first), kept.version(program, second))
    if json:
        print_json(found.to_json())
        return
    _show_diff(found)


def _show_diff(found: VersionDiff) -> None:
    out.print(f"{found.program}: version {found.first} -> {found.second}", style="bold", markup=False)
    if found.is_same:
        out.print("They are the same program.")
    for one in found.instructions:
        text = Text(f"told{f' ({one.place})' if one.place else ''}: ")
        for piece in one.pieces:
            # without colours the marks tell what a terminal shows by them
            before, after = ("", "") if out.is_terminal else _MARKS[piece.kind]
            text.append(f"{before}{piece.text}{after}", style=_COLOURS[piece.kind])
        out.print(text, soft_wrap=True)
    for demos in found.demonstrations:
        _show_demonstrations(demos)
    changes = (*found.values, *((found.model,) if found.model else ()), *found.schema, *found.figures)
    for change in changes:
        out.print(f"{change.name}: {_value(change.before)} -> {_value(change.after)}", markup=False)


def _show_demonstrations(demos: Demonstrations) -> None:
    order = ", in another order" if demos.reordered else ""
    out.print(f"{demos.name}: {demos.before} -> {demos.after}{order}", markup=False)
    for sign, style, which in (("-", "red", demos.removed), ("+", "green", demos.added)):
        for demo in which[:20]:
            out.print(f"  {sign} {shown(demo['input'])} -> {shown(demo['output'])}", style=style, markup=False)
        if len(which) > 20:  # noqa: PLR2004 - a screen
            out.print(f"  {sign} ... and {len(which) - 20} more", style=style)


def _value(value: Any) -> str:
    if isinstance(value, dict) and "score" in value:
        return f"{percent(value['score'])} ({percent(value['low'])} to {percent(value['high'])})"
    return "none" if value is None else str(value)


def _listed(version: Version, labels: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {**version.to_json(), "labels": _labels(labels, version), "is_sealed": version.is_sealed}


def _labels(labels: dict[str, dict[str, int]], version: Version) -> list[str]:
    return [name for name, number in labels.get(version.program, {}).items() if number == version.number]


def _measured(version: Version) -> list[str]:
    """Return what the search measured of each objective but the score."""
    measures = version.facts.get("measures") or {}
    names = [one["name"] for one in version.facts.get("objectives") or ()]
    return [f"{name} {figure(name, measures[name])}" for name in names if name != "score" and name in measures]


def _wishes(facts: Mapping[str, Any]) -> str:
    """Return the optimizer's settings and teacher, where it was given any."""
    told = [f"{name} {value}" for name, value in (facts.get("settings") or {}).items()]
    told += [f"teacher {facts['teacher']}"] if facts.get("teacher") else []
    return "".join(f", {one}" for one in told)


def _origin(version: Version) -> dict[str, str]:
    facts = version.facts
    data, train = facts.get("data") or {}, facts.get("train")
    interval = f"({percent(facts.get('low'))} to {percent(facts.get('high'))})"
    gap = "not measured" if train is None else f"{_value(train)}, gap {100 * facts['gap']:+.1f} points"
    return {
        "hash": version.hash,
        "parent": "none" if version.parent is None else f"version {version.parent}",
        "run": version.run_id or "none",
        "optimizer": f"{facts.get('optimizer', '-')}, seed {facts.get('seed', '-')}{_wishes(facts)}",
        "model": str(facts.get("model", "-")),
        "data": f"{data.get('source', '-')}, {data.get('rows', '-')} rows, {str(data.get('fingerprint', '-'))[:12]}",
        "validation": f"{percent(facts.get('score'))} {interval}, untuned {percent(facts.get('baseline'))}",
        **({"other objectives": ", ".join(told)} if (told := _measured(version)) else {}),
        "train": gap,
        "expected on new rows": _value(facts.get("expected")),
        "cost": f"${facts.get('cost_usd', 0.0):.4f}, {facts.get('calls', '-')} calls, {facts.get('prices', '-')}",
    }
