"""Demonstrations that a program made itself: the steps of train rows that its metric found right, by predictor.

The idea is that of BootstrapFewShot (Khattab et al. 2023, arXiv:2310.03714), with these differences: a row counts by
the score that the metric of the search gave it, no demonstration is ever cut, and each one says where it comes from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dspex_coordination.canonical import canonical_json
from dspex_coordination.optimizers.base import Told
from dspex_ray.example import Example
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

Steps = Literal["last", "all"]
"""Which of the calls that a predictor made in one row become demonstrations."""

Demo = dict[str, Any]
"""As a value of a `Demos` variable holds it: `{"input": {...}, "output": {...}, "of": content id of the row}`."""

MOST_CHARS = 20_000
"""Of the JSON of a demonstration; a longer one is left out as a whole, since a part of it could teach what is wrong."""


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A demonstration for the predictor at `place`, made of train row number `row`, which scored so in that trial."""

    place: str
    trial: int
    row: int
    score: float
    demo: Demo

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Bootstrapped:
        """Rebuild from `to_json`."""
        return Bootstrapped(**data)


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one traced trial gave: demonstrations in the order of its rows, and the rows that reached the threshold.

    `too_long` is the number of demonstrations left out for their length.
    """

    demos: tuple[Bootstrapped, ...] = ()
    passed: tuple[int, ...] = ()
    too_long: int = 0


def harvested(
    sketch: ProgramSketch, told: Told, *, threshold: float = 1.0, steps: Steps = "last", most_chars: int = MOST_CHARS
) -> Harvest:
    """Return the demonstrations that a traced trial on train rows gave; none for a failed trial or another split.

    A row gives some if its score is at least `threshold` and it ended without an error. Of the calls of a predictor in
    one row that were answered the last becomes a demonstration, or with `steps="all"` each.
    """
    if told.split != "train" or told.failed is not None:
        return Harvest()
    demos: list[Bootstrapped] = []
    passed: list[int] = []
    too_long = 0
    notes = told.notes or (None,) * len(told.rows)
    for row, score, note in zip(told.rows, told.scores, notes, strict=True):
        if score is None or score < threshold or (note or {}).get("error") is not None:
            continue
        passed.append(row)
        for place, demo in _demos_of_row(sketch, sketch.rows[row], note, steps):
            if _chars(demo) > most_chars:
                too_long += 1
            else:
                demos.append(Bootstrapped(place, told.number, row, score, demo))
    return Harvest(tuple(demos), tuple(passed), too_long)


def labelled_demos(sketch: ProgramSketch, pool: Collection[str], most_chars: int = MOST_CHARS) -> dict[str, Demo]:
    """Return by id the train rows that a predictor may show as they are: those in the pool of its `Demos` variable.

    That pool holds the train rows for predictors whose fields are those of the whole program, and else none of them.
    """
    known = frozenset(pool)
    found = {
        row.id: {"input": dict(row.input), "output": dict(row.output), "of": row.content_id}
        for row in sketch.rows
        if row.id in known
    }
    return {name: demo for name, demo in found.items() if _chars(demo) <= most_chars}


def showing(sketch: ProgramSketch) -> tuple[Predictor, ...]:
    """Return the predictors that show demonstrations."""
    return tuple(one for one in sketch.predictors if one.demos_name is not None and one.most_demos > 0)


def _demos_of_row(
    sketch: ProgramSketch, row: Example, note: Mapping[str, Any] | None, steps: Steps
) -> Iterator[tuple[str, Demo]]:
    by_place = sketch.steps_by_place(note)
    for predictor in showing(sketch):
        answered = [step for step in by_place.get(predictor.place, ()) if "output" in step]
        for step in answered if steps == "all" else answered[-1:]:
            given, answer = dict(step["input"]), dict(step["output"])
            yield predictor.place, {"input": given, "output": answer, "of": row.content_id}


def _chars(demo: Demo) -> int:
    return len(canonical_json({"input": demo["input"], "output": demo["output"]}))
