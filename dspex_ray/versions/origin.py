"""How a version came to be: what it was made of, what it is told and takes, its score on the rows it learnt from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic.fields import FieldInfo

from dspex_coordination.canonical import digest
from dspex_coordination.sweep import SweepResult, TrialSummary
from dspex_ray.data import Dataset
from dspex_ray.errors import ProgramError
from dspex_ray.example import Example
from dspex_ray.intervals import interval
from dspex_ray.programs.program import Program
from dspex_ray.programs.sub_programs import predictors
from dspex_ray.schema import Schema
from dspex_ray.store import Store


def input_id(example: Example) -> str:
    """Return what an input is known again by, whatever its output."""
    return digest(example.input)


def interface_of(program: Program) -> dict[str, Any]:
    """Return what a program takes and gives, field by field as text, and what each of its model calls is told."""
    told = {path: str(one.instruction) for path, one in predictors(program).items()}
    return {"input": _fields(program.Input), "output": _fields(program.Output), "told": told}


def parent_of(program: Program, store: Store) -> int | None:
    """Return the version that a search began from: the last one of exactly its program; None for none."""
    try:
        return store.version_of_state(program.state())
    except ProgramError:
        return None  # what cannot be saved was never a version


def kept_splits(store: Store, **splits: Dataset) -> dict[str, Any]:
    """Keep which inputs the splits held and return what is said of each: source, rows, fingerprint."""
    for part in splits.values():
        store.keep_data_rows(part.fingerprint, part.source, [input_id(example) for example in part.examples])
    return {
        name: {"source": part.source, "rows": len(part), "fingerprint": part.fingerprint}
        for name, part in splits.items()
    }


def train_figures(best: TrialSummary, trials: Sequence[TrialSummary]) -> dict[str, Any]:
    """Return `train`, the best candidate's score with its interval on train rows, and `gap`, train minus validation.

    The rows are those that the search itself scored it on; without any both are None.
    """
    scores: dict[int, float] = {}
    for one in trials:
        is_its_own = one.split == "train" and not one.teacher
        if is_its_own and one.candidate == best.candidate and not one.failed:
            scores |= {row: score or 0.0 for row, score in zip(one.rows, one.scores, strict=True)}
    if not scores or best.mean is None:
        return {"train": None, "gap": None}
    low, high = interval(list(scores.values()))
    mean = sum(scores.values()) / len(scores)
    return {"train": {"score": mean, "low": low, "high": high, "rows": len(scores)}, "gap": mean - best.mean}


def gap_unknown(trial: TrialSummary, result: SweepResult) -> tuple[str, ...]:
    """Return why the gap of the best is not known, as one sentence; () for any other trial, which was not looked at."""
    if result.best is None or trial.number != result.best.number:
        return ()
    why = "it shows all that were not left out"
    if result.status in ("cancelled", "failed"):
        why = f"the search ended before that, {result.status}"
    elif result.closing is not None and result.closing.failed:
        why = result.closing.failed
    return (f"The gap to rows learnt from is not known: the best was scored on no train row, since {why}.",)


def _fields(schema: type[Schema]) -> dict[str, str]:
    return {name: _field(info) for name, info in schema.model_fields.items()}


def _field(info: FieldInfo) -> str:
    kind = info.annotation
    text = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
    if not info.is_required():
        text += f" = {json.dumps(info.get_default(call_default_factory=True), default=str)}"
    return f"{text} # {info.description}" if info.description else text
