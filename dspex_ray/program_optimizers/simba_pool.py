"""`Pool`: the candidates of one SIMBA search, every row that each of them ran on, and who leads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from statistics import fmean
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Told
from dspex_ray.program_optimizers.run_evidence import Record
from dspex_ray.program_optimizers.shrunken_scores import Entry, Estimate, estimates

_AHEAD = 0.02  # of the range of scores, by which a candidate must be above its parent to count as better


@dataclass(slots=True)
class Member:
    """A candidate, the `way` it was made of its `parent`, and how it did.

    `course` are the train rows that it is to run on, in this order; the first `asked` of them were asked, as were the
    first `looked` validation rows. `scores` (larger is better) holds train rows by number, and validation rows from the
    number of train rows on; `records` what is known of train rows. It has `met` its rivals once it ran its first
    course; it is `out` if it failed or has no score. `broken` says by how much it breaks the bounds.
    """

    candidate: Candidate
    parent: str | None = None
    way: str = "opening"
    course: list[int] = field(default_factory=list)
    asked: int = 0
    looked: int = 0
    children: int = 0
    met: bool = False
    out: bool = False
    broken: float = 0.0
    scores: dict[int, float] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The candidate's key."""
        return self.candidate.key

    def next_rows(self, most: int) -> tuple[int, ...]:
        """Count up to `most` further rows of the course as asked, and return them sorted."""
        rows = self.course[self.asked : self.asked + most]
        self.asked += len(rows)
        return tuple(sorted(rows))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "candidate": self.candidate.to_json(),
            "course": list(self.course),
            "scores": [list(one) for one in self.scores.items()],
            "records": [list(one) for one in self.records.items()],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Member:
        """Rebuild from `to_json`."""
        by_row = {name: dict(data[name]) for name in ("scores", "records")}
        return Member(**{**data, **by_row, "candidate": Candidate(data["candidate"]), "course": list(data["course"])})


class Pool:
    """Members by key, each behind the one it was made of. Of a search with so many train rows."""

    def __init__(self, train_rows: int, members: Iterable[Member] = ()) -> None:
        self._train_rows = train_rows
        self.members = {one.key: one for one in members}
        self._estimates: dict[str, Estimate] | None = None  # like the next, made when needed
        self._sorted: list[float] | None = None

    def add(self, member: Member) -> None:
        """Take in a new candidate."""
        self.members[member.key] = member
        if member.parent is not None:
            self.members[member.parent].children += 1

    def credit(self, told: Told, records: Mapping[int, Record], sign: float, broken: float) -> None:
        """Credit every row of a trial to its candidate."""
        member = self.members[told.candidate.key]
        self._estimates = self._sorted = None
        if told.mean is None:
            member.out = True
            return
        first = 0 if told.split == "train" else self._train_rows
        for row, score in zip(told.rows, told.scores, strict=True):
            if score is not None:
                member.scores[first + row] = sign * score
        member.records.update(records)
        member.broken = broken
        member.met = member.met or member.asked == len(member.course)

    def quantile(self, share: float) -> float:
        """Return the score of a row that is above this share of all; 0 before one is known."""
        if self._sorted is None:
            self._sorted = sorted(score for one in self.members.values() for score in one.scores.values())
        return self._sorted[min(int(share * len(self._sorted)), len(self._sorted) - 1)] if self._sorted else 0.0

    @property
    def width(self) -> float:
        """The range of the scores."""
        return self.quantile(1.0) - self.quantile(0.0)

    def estimate(self, member: Member) -> Estimate:
        """Return a candidate's shrunken score; it must have one."""
        if self._estimates is None:
            self._estimates = estimates([Entry(one.key, one.parent, one.scores) for one in self.members.values()])
        return self._estimates[member.key]

    def mean(self, member: Member) -> float:
        """Return the expected score on a typical row of a candidate that has a score."""
        return self.estimate(member).mean

    def ranked(self) -> list[Member]:
        """Return those that have met their rivals, best first; one that breaks no bound before any that does."""
        able = [one for one in self.members.values() if one.met and not one.out and one.scores]
        return sorted(able, key=lambda one: (one.broken, -self.mean(one)))

    def racing(self, doubt: float) -> list[Member]:
        """Return those in their first course that are not `doubt` standard errors behind the leader, best first."""
        bar = max((self.mean(one) for one in self.ranked() if one.broken <= 0), default=None)
        running = [one for one in self.members.values() if one.scores and not one.met and not one.out]
        if bar is not None:
            running = [one for one in running if self.mean(one) + doubt * self.estimate(one).error >= bar]
        return sorted(running, key=lambda one: (one.broken, -self.mean(one)))

    def gain(self, member: Member) -> float:
        """Return by which share of the range of scores a candidate is ahead of its parent; 0 where that is unknown."""
        parent = self.members.get(member.parent or "")
        if parent is None or not parent.scores or not member.scores or not self.width:
            return 0.0
        return (self.mean(member) - self.mean(parent)) / self.width

    def successes(self) -> dict[str, tuple[int, int]]:
        """Return for each way how many candidates were made by it, and how many of them got better by it."""
        found: dict[str, tuple[int, int]] = {}
        for one in self.members.values():
            tried, better = found.get(one.way, (0, 0))
            found[one.way] = (tried + 1, better + (one.met and not one.out and self.gain(one) > _AHEAD))
        return found

    def donors(self, onto: Member) -> list[Member]:
        """Return those that a change made better, best first, but for `onto` and what it came from."""
        line, one = {onto.key}, onto
        while one.parent is not None:
            one = self.members[one.parent]
            line.add(one.key)
        return [one for one in self.ranked() if one.key not in line and self.gain(one) > _AHEAD]

    def best_runs(self) -> dict[int, tuple[Record, float]]:
        """Return by train row the best run of all, and by how much it is above the mean of the runs of that row."""
        found: dict[int, list[Record]] = {}
        for one in self.members.values():
            for row, record in one.records.items():
                if record["gain"] is not None:
                    found.setdefault(row, []).append(record)
        best = {row: max(several, key=lambda one: float(one["gain"])) for row, several in sorted(found.items())}
        return {row: (one, one["gain"] - fmean(each["gain"] for each in found[row])) for row, one in best.items()}
