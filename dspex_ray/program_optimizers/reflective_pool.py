"""The candidates of a reflective evolution: their scores row by row, who leads where, and who descends from whom.

Source: L. A. Agrawal et al., "GEPA: Reflective Prompt Evolution Can Outperform Reinforcement Learning", 2025,
arXiv:2507.19457, algorithm 2 (choice of parents) and 4 (merge). A front holds whoever is best on some validation row;
who is best only where others of it are too is left out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

from dspex_coordination.candidate import Candidate

Standing = Literal["racing", "whole", "dropped"]
_TOURNAMENT = 2  # members of the front that are drawn, of whom the better one breeds: many lead a row by chance


@dataclass(slots=True)
class Individual:
    """A candidate that was accepted, with its gain (larger is better) on each validation row seen.

    `records` holds what is known of its train rows (see `reflective_evidence`), `looked` how many validation rows were
    asked of it, `turn` whose turn among the predictors it is to be told something new, `tried` how many attempts began
    with it.
    """

    number: int
    candidate: Candidate
    parents: tuple[int, ...] = ()
    turn: int = 0
    tried: int = 0
    standing: Standing = "racing"
    looked: int = 0
    violation: float = 0.0
    gains: dict[int, float] = field(default_factory=dict)
    records: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean gain on the rows seen; at least one."""
        return fmean(self.gains.values())

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            **{name: getattr(self, name) for name in ("number", "turn", "tried", "standing", "looked", "violation")},
            "candidate": self.candidate.to_json(),
            "parents": list(self.parents),
            "gains": [list(one) for one in self.gains.items()],
            "records": [list(one) for one in self.records.items()],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Individual:
        """Rebuild from `to_json`."""
        made = {
            "candidate": Candidate(data["candidate"]),
            "parents": tuple(data["parents"]),
            "gains": dict(data["gains"]),
            "records": dict(data["records"]),
        }
        return Individual(**{**data, **made})


def leaders(individuals: list[Individual]) -> dict[int, int]:
    """Return by number on how many validation rows each member of the front is best; {} if nobody has a score.

    Of those within the bounds, or else of those that miss them least. A tie counts for all; a row is compared among
    those who saw it. Who is beaten on all rows that another saw too leads nowhere: not where that one did not look yet.
    """
    scored = [one for one in individuals if one.gains]
    least = min((one.violation for one in scored), default=0.0)
    able = sorted((one for one in scored if one.violation == least), key=lambda one: (one.mean, -one.number))
    for one in list(able):
        if any(_beats(other, one) for other in able):
            able.remove(one)
    best: dict[int, float] = {}
    for one in able:
        for row, gain in one.gains.items():
            best[row] = max(gain, best.get(row, gain))
    led = {one.number: {row for row, gain in one.gains.items() if gain == best[row]} for one in able}
    led = {number: rows for number, rows in led.items() if rows}
    held = dict.fromkeys(best, 0)
    for rows in led.values():
        for row in rows:
            held[row] += 1
    for one in able:  # the worst first
        rows = led.get(one.number, set())
        if rows and all(held[row] > 1 for row in rows):
            del led[one.number]
            for row in rows:
                held[row] -= 1
    return {number: len(rows) for number, rows in sorted(led.items())}


def _beats(one: Individual, other: Individual) -> bool:
    shared = [(gain, other.gains[row]) for row, gain in one.gains.items() if row in other.gains]
    return any(mine > theirs for mine, theirs in shared) and all(mine >= theirs for mine, theirs in shared)


def drawn_parent(individuals: list[Individual], rng: random.Random) -> Individual:
    """Draw two of the front by their share of rows led, and return the better; the first while nobody has a score."""
    front = leaders(individuals)
    if not front:
        return individuals[0]
    shares = [rows / len(individuals[number].gains) for number, rows in front.items()]  # who is new has seen few rows
    drawn = rng.choices(list(front), shares, k=_TOURNAMENT)
    return max((individuals[number] for number in drawn), key=lambda one: one.mean)


def incumbent(individuals: list[Individual]) -> Individual | None:
    """Return the best of those scored on the whole validation split."""
    whole = [one for one in individuals if one.standing == "whole"]
    return min(whole, key=lambda one: (one.violation, -one.mean, one.number), default=None)


def ancestry(individuals: list[Individual], number: int) -> set[int]:
    """Return the numbers of all ancestors, and the own."""
    found, left = {number}, [number]
    while left:
        for parent in individuals[left.pop()].parents:
            if parent not in found:
                found.add(parent)
                left.append(parent)
    return found


def hard_rows(individuals: list[Individual], number: int, perfect: float) -> set[int]:
    """Return the train rows that some ancestor of a candidate, or itself, did not get right."""
    return {
        row
        for one in ancestry(individuals, number)
        for row, record in individuals[one].records.items()
        if record["gain"] is not None and record["gain"] < perfect
    }


def merges(individuals: list[Individual]) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Yield pairs of the front that changed different things since their latest common ancestor, with both changes.

    Where both changed the same thing, the better of the two decides. A pair of which one is the other's ancestor, or
    whose ancestor is better than one of them, is passed over.
    """
    for first, second in combinations(leaders(individuals), 2):
        one, other = individuals[first], individuals[second]
        mine, theirs = ancestry(individuals, first), ancestry(individuals, second)
        common = mine & theirs
        if not common or first in theirs or second in mine:
            continue
        origin = individuals[max(common)]
        if origin.gains and origin.mean > min(one.mean, other.mean):
            continue
        worse, better = sorted((one, other), key=lambda individual: (individual.mean, -individual.number))
        changes = [_changes(individual, origin) for individual in (worse, better)]
        if all(set(changes[side]) - set(changes[1 - side]) for side in (0, 1)):
            yield (first, second), {**origin.candidate.values, **changes[0], **changes[1]}


def _changes(individual: Individual, origin: Individual) -> dict[str, Any]:
    before = origin.candidate.values
    return {name: value for name, value in individual.candidate.values.items() if value != before.get(name)}
