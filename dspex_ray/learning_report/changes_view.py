"""What changed, for people: instructions with what came and went in colour, demonstrations, values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dspex_ray.learning_report.changes import Change, DemosChange, InstructionChange, demos_told
from dspex_ray.learning_report.learnt import Learnt
from dspex_ray.learning_report.markup import Fold, lines, table, text

_MOST_SHOWN = 20  # demonstrations and advice of one change
_FEW = 3  # advice that is shown unfolded
_MARKS = {"same": "span", "removed": "del", "added": "ins"}


def changes_section(found: Learnt) -> str:
    """Return what the best has that the untuned program has not."""
    if not found.changed:
        return "<h2>What changed</h2><p>Nothing: the untuned program is the best.</p>"
    note = "What the best has that the untuned program has not. New words are marked, words that went are struck out."
    told = "".join(_change(one, found.demonstrations) for one in found.changed)
    return f'<h2>What changed</h2><p class="small">{note}</p>{told}'


def differing(values: Mapping[str, Any], untuned: Mapping[str, Any]) -> str:
    """Return, folded, the values of a candidate that the untuned program has not."""
    told = {name: demos_told(value) for name, value in values.items() if value != untuned.get(name)}
    if not told:
        return "as untuned" if untuned else "-"
    return Fold.of(", ".join(told), lines(told))


def _change(one: Change, demonstrations: Mapping[str, Any]) -> str:
    head = f"<h3>{text(one.name)}</h3>"
    if isinstance(one, InstructionChange):
        pieces = "".join(f"<{_MARKS[p.kind]}>{text(p.text)}</{_MARKS[p.kind]}>" for p in one.pieces)
        return f'{head}<p class="text">{pieces}</p>{_advice(one)}'
    if isinstance(one, DemosChange):
        return f"{head}<p>{text(one.before)} &rarr; {text(one.after)}</p>{_demos(one, demonstrations)}"
    return f'{head}<p class="text">{text(lines(one.before))} &rarr; {text(lines(one.after))}</p>'


def _advice(one: InstructionChange) -> str:
    if not one.advice:
        return ""
    rows = [(str(trial), lines(told)) for trial, told in one.advice[:_MOST_SHOWN]]
    more = len(one.advice) - len(rows)
    note = "Why: a model wrote this, and its words stand in the instruction."
    told = table(f"What led to {one.name}", ("trial", "written"), rows, ("trial",))
    note = f"{note}{f' {more} more are not shown.' if more else ''}"
    if len(rows) <= _FEW:
        return f"<p>{note}</p>{told}"
    return f"<details><summary>{note} {len(rows)} such texts.</summary>{told}</details>"


def _demos(one: DemosChange, demonstrations: Mapping[str, Any]) -> str:
    shown = [demonstrations.get(demo, demo) if isinstance(demo, str) else demo for demo in one.added[:_MOST_SHOWN]]
    more = len(one.added) - len(shown)
    rows: list[Sequence[str]] = [
        (lines(demo["input"]), lines(demo["output"]))
        if isinstance(demo, Mapping)
        else (f"the train row of id {demo}", "")
        for demo in shown
    ]
    rows += [(f"... {more} more", "")] if more else []
    return table(f"Demonstrations added to {one.name}", ("input", "output"), rows) if rows else ""
