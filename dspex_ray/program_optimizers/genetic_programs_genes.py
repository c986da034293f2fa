"""What is bred of a program beside its variables: the parts of its model calls, and their demonstrations."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from dspex_coordination.space import Space
from dspex_ray.program_optimizers.demo_shelf import DemoShelf
from dspex_ray.program_optimizers.sketch import ProgramSketch

_STRENGTH = 0.3  # of a step among sets that are named by ids or by number
_REDRAWN = 0.4  # chance that a set is drawn afresh instead of changed by one demonstration
_MOST = 8  # demonstrations of one kind in a set that is drawn

Values = Mapping[str, Any]


def crossed(sketch: ProgramSketch, space: Space, parents: tuple[Values, Values], rng: random.Random) -> dict[str, Any]:
    """Return for each model call instruction and demonstrations of one parent: what is told fits what is shown."""
    found: dict[str, Any] = {}
    for one in sketch.predictors:
        donor = rng.choice(parents)
        names = [name for name in (one.instruction_name, one.demos_name) if name in space.free]
        found |= {str(name): donor[str(name)] for name in names}
    return found


def varied(shelf: DemoShelf, value: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return another set for a predictor: drawn from its shelf, or with one demonstration added, replaced or removed.

    Where the shelf holds nothing the variable mutates by itself.
    """
    shown = value["demos"] if value["select"] == "given" else []
    drawn = None if shown and rng.random() >= _REDRAWN else shelf.drawn(_MOST, _MOST, rng)
    if drawn is not None and drawn != value:
        return drawn
    if not shown:
        return shelf.variable.mutate(dict(value), rng, _STRENGTH)
    return _changed(shelf, [dict(one) for one in shown], rng)


def _changed(shelf: DemoShelf, shown: list[dict[str, Any]], rng: random.Random) -> dict[str, Any]:
    rows = {one["of"] for one in shown}
    known = [demo for demos in shelf.bootstrapped.values() for demo in demos] + list(shelf.labelled.values())
    others = [demo for demo in known if demo["of"] not in rows]
    moves = ["remove"] if len(shown) > 1 else []
    if others:
        moves += ["replace"] + (["add"] if len(shown) < shelf.variable.max else [])
    match rng.choice(moves) if moves else "none":
        case "remove":
            del shown[rng.randrange(len(shown))]
        case "replace":
            shown[rng.randrange(len(shown))] = dict(rng.choice(others))
        case "add":
            shown.insert(rng.randint(0, len(shown)), dict(rng.choice(others)))
    return {"select": "given", "demos": shown}
