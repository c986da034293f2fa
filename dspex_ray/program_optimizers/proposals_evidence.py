"""What a traced trial shows of each predictor: how it did on the rows that went well, and on those that did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspex_coordination.optimizers.base import Told
from dspex_ray.example import as_text
from dspex_ray.program_optimizers.sketch import ProgramSketch

_SHOWN_CHARS = 600  # of an input, an output or a feedback, so that no prompt bursts


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row as one predictor met it, as texts; `expected` and `feedback` are of the whole program."""

    row: int
    given: str
    answered: str
    expected: str
    feedback: str | None
    good: bool

    def __str__(self) -> str:
        told = "" if self.feedback is None else f"\n  said of it: {self.feedback}"
        right = "" if self.good else f"\n  right would have been: {self.expected}"
        return f"{self.given}\n  answered: {self.answered}{right}{told}"


def attempts_by_place(sketch: ProgramSketch, told: Told) -> dict[str, list[Attempt]]:
    """Return what a traced trial on train rows shows of each predictor, row by row; {} for a failed or other trial.

    A row went well if it scored above the mean of the trial; if all scored the same, if that was above 0.
    """
    if told.split != "train" or told.failed is not None or len(told.notes) != len(told.rows):
        return {}
    middle = told.mean
    alike = len({score for score in told.scores if score is not None}) == 1
    hidden = secret_names(sketch)
    found: dict[str, list[Attempt]] = {}
    for row, score, note in zip(told.rows, told.scores, told.notes, strict=True):
        if score is None or middle is None or note is None:
            continue
        failed = note.get("error") is not None
        good = not failed and (score > 0 if alike else score > middle)
        for place, steps in sketch.steps_by_place(note).items():
            found.setdefault(place, []).append(_attempt(sketch, row, steps[-1], note, good=good, hidden=hidden))
    return found


def shown_row(sketch: ProgramSketch, row: int) -> str:
    """Return a train row as a text: its input, and the output that it should give."""
    hidden, one = secret_names(sketch), sketch.rows[row]
    return f"{_clipped(one.input, hidden)}\n  -> {_clipped(one.output, hidden)}"


def secret_names(sketch: ProgramSketch) -> frozenset[str]:
    """Return the names of the fields that no prompt may show."""
    return frozenset(one.name for each in sketch.predictors for one in each.inputs if "Secret" in one.type)


def _attempt(
    sketch: ProgramSketch,
    row: int,
    step: Mapping[str, Any],
    note: Mapping[str, Any],
    *,
    good: bool,
    hidden: frozenset[str],
) -> Attempt:
    error, feedback = step.get("error") or note.get("error"), note.get("feedback")
    answered = _clipped(step["output"], hidden) if "output" in step else f"(no valid answer: {_cut(str(error))})"
    return Attempt(
        row=row,
        given=_clipped(step["input"], hidden),
        answered=answered,
        expected=_clipped(sketch.rows[row].output, hidden),
        feedback=None if feedback is None else _cut(str(feedback)),
        good=good,
    )


def _clipped(values: Any, hidden: frozenset[str]) -> str:
    told = {name: one for name, one in values.items() if name not in hidden}
    return _cut(as_text(told)) if told else "(nothing to show)"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
