"""The contract of an optimizer: it is asked for trials and told what they scored.

A *trial* is one candidate evaluated on rows of one split. Trials are numbered from 0 in the order of the asks.
Trial 0 is always the default candidate on all validation rows: the baseline that every other is compared with.
The candidates of `SearchContext.early` come next, then the optimizer's own.

| method           | called by        | when                                                                          |
|------------------|------------------|-------------------------------------------------------------------------------|
| `start`          | the sweep        | once, before all else                                                         |
| `ask`            | the sweep        | whenever another trial may be opened; `pending` trials are asked, not yet told |
| `tell`           | the sweep        | once for each trial, in any order, when its last row is recorded or it failed |
| `done`           | the sweep        | any time; True means that `ask` will return None for ever                     |
| `best`           | the sweep        | any time; None as long as no validation trial has a score                     |
| `state_dict`     | whoever saves it | any time after `start`; JSON                                                  |
| `load_state_dict`| whoever loads it | once, right after `start` with the same context                               |

Rules that make a sweep resumable: an optimizer draws nothing from outside (clock, global random state), so the same
context and the same sequence of asks and tells give the same answers; and an `ask` that returns None changes nothing,
since it is not journalled. It returns None while it must wait for a pending trial to be told, and when it is done;
None with nothing pending and `done` False is an error of the optimizer and ends the sweep.

An optimizer takes any order of tells. A sweep that must not depend on its number of workers tells in trial order and
asks trial k once all up to k - w are told and no later one (w: how many may be pending), so the optimizer need not
care; it knows the pending ones as those asked and not yet told. A trial that failed tells no scores: it is not bad, it
is unknown, and it is not asked again. A pending candidate counts as seen.

What is asked does not depend on `max_trials`, which only says when to end: an extended sweep repeats its asks with a
larger number. One that looks at candidates on some rows first (see `row_search.py`) takes it as that many whole looks
at the validation split, and asks for more trials on fewer rows.

If `start`, `ask` or `tell` raises, the sweep ends with that error and stays resumable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal, Protocol

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives import SCORE, Bound, Objective, check_measures
from dspex_coordination.space import Space

Split = Literal["train", "validation", "errand"]
"""The rows of a trial are of one split. `errand` has no rows of data: see `Ask`."""


@dataclass(frozen=True, slots=True)
class SearchContext:
    """What an optimizer may know of a search.

    `train_ids` and `train_labels` have one entry a train row; an id is what a `Demos` value names, a label is the
    expected output as text. `early` are candidates to try first. `earlier` are trials of earlier runs: they inform the
    search, but are no trials of this one and are never its best. Results are compared by `objectives`; one that breaks
    a bound is worse than any that keeps all. Raises OptimizerError for a number or length that cannot be.
    """

    space: Space
    seed: int
    max_trials: int
    train_ids: tuple[str, ...]
    train_labels: tuple[str, ...] | None
    train_rows: int
    validation_rows: int
    objectives: tuple[Objective, ...] = (SCORE,)
    bounds: tuple[Bound, ...] = ()
    early: tuple[Candidate, ...] = ()
    earlier: tuple[Told, ...] = ()

    def __post_init__(self) -> None:
        check_measures(self.objectives, self.bounds)
        if self.max_trials < 1:
            raise OptimizerError(f"max_trials must be at least 1, got {self.max_trials}.")
        if self.validation_rows < 1:
            raise OptimizerError("The validation split has no rows, so no candidate can be scored.")
        if len(self.train_ids) != self.train_rows:
            raise OptimizerError(f"{self.train_rows} train rows need as many train_ids, got {len(self.train_ids)}.")
        if self.train_labels is not None and len(self.train_labels) != self.train_rows:
            raise OptimizerError(
                f"{self.train_rows} train rows need as many train_labels, got {len(self.train_labels)}."
            )

    def rows_of(self, split: Split) -> int:
        """Return the number of rows of a split."""
        return {"train": self.train_rows, "validation": self.validation_rows, "errand": 1}[split]

    def check(self, owner: str, seed: int | None, max_trials: int | None) -> None:
        """Raise OptimizerError if an optimizer was made for another seed or number of trials (None: any)."""
        for name, made, mine in (("seed", seed, self.seed), ("max_trials", max_trials, self.max_trials)):
            if made is not None and made != mine:
                raise OptimizerError(f"{owner} was made with {name}={made} but the search has {name}={mine}.")


@dataclass(frozen=True, slots=True)
class Ask:
    """A trial to run: a candidate on some rows of a split; `rows=None` means all of them.

    Rows on which this candidate was scored before, in a trial that is told, are taken from there at no cost, unless
    `fresh` asks for a new draw of a noisy score. So a longer look at a candidate pays only for the rows it adds.

    With `traced` the worker tells how each row went, in `Told.notes`. An `errand` scores nothing: its candidate is any
    JSON object, which a worker answers with JSON, told as the one output; it is a trial for the journal's sake, and
    counts as none for `max_trials` or any stop rule but those on money, calls and time.

    With `teacher` another evaluates than whom the candidate is for, so that others can learn from how it goes: its
    rows are taken over by trials that want the teacher too, and by no others.
    """

    candidate: Candidate
    split: Split = "validation"
    rows: tuple[int, ...] | None = None
    fresh: bool = False
    traced: bool = False
    teacher: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What became of trial `number`. `scores` and `outputs` have one entry a row of `rows`; a failed trial has none.

    So have the `notes` of a traced trial, each with `error`, `feedback` and `trace`; of any other they are empty.

    A score is None where the metric gave none; `failed` says why there are no scores at all. `measures` holds the
    means by name (see `dspex_coordination.objectives`); `score` is always among those of a trial that has a score.
    """

    number: int
    candidate: Candidate
    split: Split
    rows: tuple[int, ...]
    scores: tuple[float | None, ...]
    outputs: tuple[Any, ...]
    cost_usd: float
    failed: str | None
    measures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[Mapping[str, Any] | None, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.scores) == len(self.outputs):
            raise OptimizerError(
                f"Trial {self.number}: {len(self.rows)} rows need as many scores and outputs, "
                f"got {len(self.scores)} and {len(self.outputs)}."
            )
        if any(score is not None and not math.isfinite(score) for score in self.scores):
            raise OptimizerError(f"Trial {self.number}: scores must be finite, got {self.scores!r}.")
        if not all(math.isfinite(value) for value in self.measures.values()):
            raise OptimizerError(f"Trial {self.number}: measures must be finite, got {dict(self.measures)!r}.")
        mean = self.mean
        object.__setattr__(self, "measures", {} if mean is None else {**self.measures, "score": mean})

    @property
    def mean(self) -> float | None:
        """The mean of the scores there are; None for a failed trial or one without a score."""
        known = [score for score in self.scores if score is not None]
        return fmean(known) if known and self.failed is None else None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return {
            "number": self.number,
            "candidate": self.candidate.to_json(),
            "split": self.split,
            "rows": list(self.rows),
            "scores": list(self.scores),
            "outputs": list(self.outputs),
            "cost_usd": self.cost_usd,
            "failed": self.failed,
            "measures": dict(self.measures),
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Told:
        """Rebuild from `to_json`."""
        sequences = {name: tuple(data.get(name, ())) for name in ("rows", "scores", "outputs", "notes")}
        return Told(**{**data, **sequences, "candidate": Candidate(data["candidate"])})


class Optimizer(Protocol):
    """The methods of the table above."""

    name: str

    def start(self, context: SearchContext) -> None:
        """Take the context. Raises OptimizerError if this optimizer cannot search that space."""
        ...

    def ask(self, pending: int) -> Ask | None:
        """Return the next trial, or None to wait for a pending one or because it is done."""
        ...

    def tell(self, told: Told) -> None:
        """Take the result of a trial. Raises OptimizerError for a trial not asked or told before."""
        ...

    @property
    def done(self) -> bool:
        """Whether no further trial will come."""
        ...

    def best(self) -> Told | None:
        """Return the best told validation trial; never a failed one.

        One on more rows beats one on fewer, one within all bounds any that is not; then the objectives decide, and of
        a tie the earlier one is the best.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to go on, as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Raises OptimizerError for the state of another optimizer."""
        ...
