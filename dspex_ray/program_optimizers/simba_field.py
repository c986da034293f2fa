"""`Field`: the candidates of one SIMBA search, how they went on the rows, and who is ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dspex_coordination.optimizers.base import Told
from dspex_ray.program_optimizers.simba_members import Member, Way
from dspex_ray.program_optimizers.simba_runs import Bucket, Run
from dspex_ray.program_optimizers.simba_scores import Estimate, estimates

_AHEAD = (
    0.02  # by so much of the range of scores a candidate must be above the one it was made from, to count as better
)


class Field:
    """Members by key in the order of their birth, and the buckets of train rows. `pool` is how many lead."""

    def __init__(self, pool: int, train_rows: int) -> None:
        self.size, self._train_rows = pool, train_rows
        self.members: dict[str, Member] = {}
        self.buckets: dict[int, Bucket] = {}
        self._estimates: dict[str, Estimate] | None = None
        self._pending: frozenset[str] = frozenset()

    def add(self, member: Member) -> None:
        """Take in a new candidate."""
        self.members[member.key] = member

    def credit(self, told: Told, runs: Iterable[Run], sign: float, broken: float) -> None:
        """Credit a trial's rows to its candidate; one that failed or scored nothing is out."""
        member = self.members[told.candidate.key]
        self._estimates = None
        if told.mean is None:
            member.out = True
            return
        first = 0 if told.split == "train" else self._train_rows
        for row, score in zip(told.rows, told.scores, strict=True):
            if score is not None:
                member.scores[first + row] = sign * score
        member.broken, member.whole = broken, member.whole or not member.lacks
        for run in runs:
            self.buckets.setdefault(run.row, Bucket()).add(run)

    def await_rows(self, keys: Iterable[str]) -> None:
        """Note for which candidates a trial on train rows is pending."""
        self._pending = frozenset(keys)

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """The shrunken scores of all candidates that have one."""
        if self._estimates is None:
            self._estimates = estimates([one.entry for one in self.members.values()])
        return self._estimates

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest score of any row; (0, 0) before there is one."""
        every = [score for one in self.members.values() for score in one.scores.values()]
        return (min(every), max(every)) if every else (0.0, 0.0)

    def mean(self, member: Member) -> float:
        """Return a candidate's shrunken score; it must have one."""
        return self.estimates[member.key].mean

    def ranked(self) -> list[Member]:
        """Return those that have met a whole batch, best first; one that breaks no bound before any that does."""
        whole = [one for one in self.members.values() if self._is_whole(one)]
        return sorted(whole, key=lambda one: (one.broken, -self.mean(one)))

    def pool(self) -> list[Member]:
        """Return the leaders."""
        return self.ranked()[: self.size]

    def racing(self) -> list[Member]:
        """Return those that have rows of their batch before them, and are not clearly behind; best first."""
        leaders = self.pool()
        bar = max((self.mean(one) for one in leaders if one.broken <= 0), default=None)
        known = self.estimates
        running = [
            one
            for one in self.members.values()
            if one.key in known and one.lacks and not one.out and one.key not in self._pending
        ]
        if bar is not None:
            running = [one for one in running if known[one.key].mean + known[one.key].error >= bar]
        return sorted(running, key=lambda one: (one.broken, -self.mean(one)))

    def champion(self, rows: int) -> Member | None:
        """Return the best of those that were asked all validation rows; None before one is told."""
        return next((one for one in self.ranked() if one.looked >= rows), None)

    def forget(self) -> None:
        """Keep the runs of the leaders and of those that still race, and the best run of each row."""
        keys = {one.key for one in (*self.pool(), *self.racing())} | self._pending
        for bucket in self.buckets.values():
            bucket.keep(keys)

    def tally(self) -> dict[Way, tuple[int, int]]:
        """Return for each way how often it was tried and how often it made a better candidate than it began with."""
        low, high = self.span
        found: dict[Way, tuple[int, int]] = {}
        for one in self.members.values():
            if one.parent not in self.estimates or one.key not in self.estimates:
                continue
            tried, won = found.get(one.way, (0, 0))
            better = self.gain(one) > _AHEAD * (high - low) and not one.lacks
            found[one.way] = (tried + 1, won + better)
        return found

    def gain(self, member: Member) -> float:
        """Return by how much a candidate is ahead of the one it was made from; 0 for a first one."""
        parent = self.estimates.get(member.parent or "")
        return 0.0 if parent is None else self.mean(member) - parent.mean

    def donors(self, onto: Member) -> Sequence[Member]:
        """Return those leading candidates whose change made them better, other than `onto` and what it came from."""
        line, one = {onto.key}, onto
        while one.parent is not None and one.parent in self.members:
            one = self.members[one.parent]
            line.add(one.key)
        low, high = self.span
        ahead = _AHEAD * (high - low)
        return [
            one for one in self.ranked() if one.parent is not None and one.key not in line and self.gain(one) > ahead
        ]

    def _is_whole(self, one: Member) -> bool:
        return one.whole and not one.out and one.key in self.estimates

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "members": [one.to_json() for one in self.members.values()],
            "buckets": [[row, bucket.to_json()] for row, bucket in self.buckets.items()],
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_json` gave."""
        members = [Member.from_json(one) for one in data["members"]]
        self.members = {one.key: one for one in members}
        self.buckets = {int(row): Bucket.from_json(bucket) for row, bucket in data["buckets"]}
        self._estimates = None
