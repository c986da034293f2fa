"""How SIMBA's candidates went on train rows, and which rows have something to teach."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from dspex_coordination.optimizers.base import Told
from dspex_ray.program_optimizers.sketch import ProgramSketch


@dataclass(frozen=True, slots=True)
class Run:
    """One candidate, by its key, on one train row; `score` is large where it went well, `steps` those of the trace."""

    key: str
    row: int
    score: float
    output: Any
    error: str | None
    feedback: str | None
    steps: list[dict[str, Any]] = field(default_factory=list)


def runs_of(told: Told, sketch: ProgramSketch, sign: float) -> list[Run]:
    """Return the runs of a trial on train rows; a row without a score is none."""
    notes = told.notes or (None,) * len(told.rows)
    return [
        Run(
            told.candidate.key,
            row,
            sign * score,
            output,
            (note or {}).get("error"),
            (note or {}).get("feedback"),
            [step for steps in sketch.steps_by_place(note).values() for step in steps],
        )
        for row, score, output, note in zip(told.rows, told.scores, told.outputs, notes, strict=True)
        if score is not None
    ]


class Bucket:
    """The runs of one row: the best of all, and that of every candidate that is still of use."""

    def __init__(self) -> None:
        self.best: Run | None = None
        self.by_key: dict[str, Run] = {}

    def add(self, run: Run) -> None:
        """Take in a run; of equally good ones the earlier is the best."""
        self.by_key[run.key] = run
        if self.best is None or run.score > self.best.score:
            self.best = run

    def keep(self, keys: Collection[str]) -> None:
        """Forget the runs of all other candidates but the best one."""
        self.by_key = {key: run for key, run in self.by_key.items() if key in keys}

    def variability(self) -> tuple[float, float, float]:
        """Return what buckets are sorted by, largest first: gap of the scores, the best, the best above the mean."""
        scores = [run.score for run in self.by_key.values()]
        if self.best is None or not scores:
            return (0.0, -math.inf, 0.0)
        return (self.best.score - min(scores), self.best.score, self.best.score - fmean(scores))

    def to_json(self) -> dict[str, Any]:
        """Return the runs as JSON."""
        best = None if self.best is None else asdict(self.best)
        return {"best": best, "runs": [asdict(run) for run in self.by_key.values()]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Bucket:
        """Rebuild from `to_json`."""
        made = Bucket()
        made.best = None if data["best"] is None else Run(**data["best"])
        made.by_key = {run["key"]: Run(**run) for run in data["runs"]}
        return made


def by_variability(buckets: Mapping[int, Bucket]) -> Iterable[tuple[int, Bucket]]:
    """Yield the rows with their buckets, those on which candidates differ most first."""
    return sorted(buckets.items(), key=lambda entry: (*(-one for one in entry[1].variability()), entry[0]))
