"""The candidates of a reflective evolution: what they are worth, who breeds next, and who has what another lacks."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from dspex_coordination.candidate import Candidate
from dspex_ray.program_optimizers.shrunken_scores import Entry, Estimate, estimates

Standing = Literal["racing", "whole", "dropped"]


@dataclass(slots=True)
class Individual:
    """A candidate that was accepted, with its gain (larger is better) on each validation row seen.

    `records` holds what is known of its train rows (see `run_evidence`), `looked` how many validation rows were
    asked of it, `turn` whose turn among the predictors it is to be told something new, `tried` how many attempts began
    with it. Its `violation` is its parent's until it is known.
    """

    number: int
    candidate: Candidate
    parent: int | None = None
    turn: int = 0
    tried: int = 0
    standing: Standing = "racing"
    looked: int = 0
    violation: float = 0.0
    gains: dict[int, float] = field(default_factory=dict)
    records: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean gain on the validation rows seen; at least one."""
        return fmean(self.gains.values())

    @property
    def train_gains(self) -> dict[int, float]:
        """The gains on the train rows that have one."""
        return {row: float(one["gain"]) for row, one in self.records.items() if one["gain"] is not None}

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        names = ("number", "parent", "turn", "tried", "standing", "looked", "violation")
        return {
            **{name: getattr(self, name) for name in names},
            "candidate": self.candidate.to_json(),
            "gains": [list(one) for one in self.gains.items()],
            "records": [list(one) for one in self.records.items()],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Individual:
        """Rebuild from `to_json`."""
        made = {"candidate": Candidate(data["candidate"]), **{name: dict(data[name]) for name in ("gains", "records")}}
        return Individual(**{**data, **made})


def worths(individuals: Collection[Individual]) -> dict[int, Estimate]:
    """Return by number what each candidate with a score is worth, told from its rows of both splits and its parent."""
    entries = [
        Entry(
            str(one.number),
            None if one.parent is None else str(one.parent),
            {**one.train_gains, **{-1 - row: gain for row, gain in one.gains.items()}},
        )
        for one in individuals
    ]
    return {int(key): worth for key, worth in estimates(entries).items()}


def drawn_parent(individuals: list[Individual], worth: Mapping[int, Estimate], rng: random.Random) -> Individual:
    """Draw what each candidate may be worth, by how much is known of it, and return the best; the first if none is.

    Thompson sampling (W. R. Thompson, "On the likelihood that one unknown probability exceeds another", 1933), among
    those within the bounds, or else those that miss them least.
    """
    least = min((individuals[number].violation for number in worth), default=0.0)
    drawn = {
        number: rng.gauss(one.mean, one.error)
        for number, one in worth.items()
        if individuals[number].violation == least
    }
    return individuals[max(drawn, key=lambda number: drawn[number])] if drawn else individuals[0]


def complements(
    individuals: list[Individual], worth: Mapping[int, Estimate], parent: Individual, perfect: float, most: int
) -> list[Individual]:
    """Return up to `most` candidates that did best on the train rows that a parent got wrong, better than it.

    They are worth about as much as the parent, or more. This is what the Pareto front of GEPA keeps: who can do what
    others cannot.
    """
    wrong = {row: gain for row, gain in parent.train_gains.items() if gain < perfect}
    if parent.number not in worth:
        return []
    floor = worth[parent.number].mean - worth[parent.number].error
    lead = {
        number: math.fsum(gain - wrong[row] for row, gain in individuals[number].train_gains.items() if row in wrong)
        for number, one in worth.items()
        if number != parent.number and one.mean >= floor
    }
    able = sorted((number for number, gain in lead.items() if gain > 0), key=lambda number: (-lead[number], number))
    return [individuals[number] for number in able[:most]]


def solved_share(individuals: Collection[Individual], row: int, perfect: float) -> float:
    """Return which share of those who met a train row got it right; 0 if nobody met it."""
    gains = [one.records[row]["gain"] for one in individuals if row in one.records]
    known = [gain >= perfect for gain in gains if gain is not None]
    return sum(known) / len(known) if known else 0.0


def incumbent(individuals: list[Individual]) -> Individual | None:
    """Return the best of those scored on the whole validation split."""
    whole = [one for one in individuals if one.standing == "whole"]
    return min(whole, key=lambda one: (one.violation, -one.mean, one.number), default=None)


def hard_rows(individuals: list[Individual], number: int, perfect: float) -> set[int]:
    """Return the train rows that some ancestor of a candidate, or itself, did not get right."""
    found: set[int] = set()
    one: Individual | None = individuals[number]
    while one is not None:
        found |= {row for row, gain in one.train_gains.items() if gain < perfect}
        one = None if one.parent is None else individuals[one.parent]
    return found
