"""`Ballots`: the votes of samples so far, and whether more of them could change anything."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Ballots:
    """Votes by group, the groups in the order of their first vote; `taken` counts samples without a vote too.

    The winner has the most votes, the earliest group of equals. It is to be the winner of `planned` samples, with at
    least the share `least` of them; as long as its share is lower, up to `most` samples are taken.
    """

    planned: int
    most: int
    least: float = 0.0
    votes: tuple[tuple[Hashable, int], ...] = ()
    taken: int = 0

    def with_vote(self, group: Hashable, times: int = 1) -> Ballots:
        """Return the ballots with one more sample of this group, or with several."""
        known = dict(self.votes)
        known[group] = known.get(group, 0) + times
        return replace(self, votes=tuple(known.items()), taken=self.taken + times)

    def with_failure(self, samples: int = 1) -> Ballots:
        """Return the ballots with more samples that have no vote."""
        return replace(self, taken=self.taken + samples)

    @property
    def winner(self) -> tuple[Hashable, int] | None:
        """The leading group and its votes; None without a vote."""
        return max(self.votes, key=lambda one: one[1], default=None)  # the first of equals

    @property
    def agreed(self) -> bool:
        """Whether the winner is certain and has its share, so that no more samples are needed."""
        if self.winner is None:
            return False
        if self.taken >= self.planned:
            return self.winner[1] / self.taken >= self.least
        return self._is_certain(self.planned - self.taken) and self.winner[1] / self.planned >= self.least

    @property
    def hopeless(self) -> bool:
        """Whether no further sample could bring a winner its share."""
        left = self.most - self.taken
        most_votes = self.winner[1] if self.winner else 0
        return left <= 0 or (most_votes + left) / self.most < self.least

    @property
    def settled(self) -> bool:
        """Whether asking on is useless."""
        return self.agreed or self.hopeless

    def surely_needed(self) -> int:
        """Return how many samples at least are still to be taken, whatever they are; these may run together."""
        return next(
            (count for count in range(self.most - self.taken) if self._may_settle(count)), self.most - self.taken
        )

    def _may_settle(self, count: int) -> bool:
        return any(one.settled for one in self._extremes(count))

    def _extremes(self, count: int) -> Iterator[Ballots]:
        """Yield what `count` more samples lead to at best and at worst: nothing between settles sooner."""
        yield self.with_failure(count)
        if count:
            yield self.with_vote(self.winner[0] if self.winner else "", count)

    def _is_certain(self, left: int) -> bool:
        leader = self.winner
        if leader is None:
            return False
        before = True
        for group, votes in self.votes:
            if group == leader[0]:
                before = False
            elif votes + left > leader[1] or (before and votes + left == leader[1]):
                return False
        return leader[1] >= left  # a group that has no vote yet comes later and loses a tie
