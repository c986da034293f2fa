"""`Member`: what SIMBA knows of one candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dspex_coordination.candidate import Candidate
from dspex_ray.program_optimizers.simba_changes import Advice, Changed
from dspex_ray.program_optimizers.simba_scores import Entry

Way = Literal["opening", "rule", "demo", "move", "graft"]


@dataclass(slots=True)
class Member:
    """A candidate, how it was made, and its scores.

    `scores` holds the train rows by number, and the validation rows from the number of train rows on. `batch` are the
    train rows on which it competes first, `asked` those asked so far, `looked` the number of validation rows asked,
    `broken` by how much it breaks the bounds. It is `whole` once it has met its first batch, and `out` if it failed or
    has no score: then nothing is known of it.
    """

    made: Changed
    parent: str | None = None
    way: Way = "opening"
    batch: tuple[int, ...] = ()
    asked: set[int] = field(default_factory=set)
    looked: int = 0
    scores: dict[int, float] = field(default_factory=dict)
    broken: float = 0.0
    whole: bool = False
    out: bool = False

    @property
    def candidate(self) -> Candidate:
        """The candidate."""
        return self.made.candidate

    @property
    def key(self) -> str:
        """The candidate's key."""
        return self.made.candidate.key

    @property
    def advice(self) -> Advice:
        """The advice in its instructions."""
        return self.made.advice

    @property
    def entry(self) -> Entry:
        """What its estimate is made from."""
        return Entry(self.key, self.parent, self.scores)

    @property
    def lacks(self) -> tuple[int, ...]:
        """The rows of its batch that were not asked yet, in their order."""
        return tuple(row for row in self.batch if row not in self.asked)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "candidate": self.candidate.to_json(),
            "advice": {name: list(pieces) for name, pieces in self.advice.items()},
            "parent": self.parent,
            "way": self.way,
            "batch": list(self.batch),
            "asked": sorted(self.asked),
            "looked": self.looked,
            "scores": [[row, self.scores[row]] for row in sorted(self.scores)],
            "broken": self.broken,
            "whole": self.whole,
            "out": self.out,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Member:
        """Rebuild from `to_json`."""
        return Member(
            made=Changed(Candidate(data["candidate"]), data["advice"]),
            parent=data["parent"],
            way=data["way"],
            batch=tuple(data["batch"]),
            asked=set(data["asked"]),
            looked=data["looked"],
            scores={int(row): score for row, score in data["scores"]},
            broken=data["broken"],
            whole=data["whole"],
            out=data["out"],
        )
