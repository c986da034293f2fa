"""`Looks`: what was seen of candidates on train rows, and what follows from it: evidence and demonstrations."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Told
from dspex_ray.program_optimizers.bootstrapped import harvested
from dspex_ray.program_optimizers.proposals_evidence import Attempt, attempts_by_place
from dspex_ray.program_optimizers.sketch import ProgramSketch


class Looks:
    """The looks so far. A later one at the same candidate adds rows; what was seen of them before is kept.

    `misses` and `seen` count by train row how often it went wrong and how often it was looked at, whoever it was.
    """

    def __init__(self, sketch: ProgramSketch, threshold: float) -> None:
        self._sketch, self._threshold = sketch, threshold
        self._attempts: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}  # by candidate, place and row
        self._scores: dict[str, dict[int, float]] = {}  # by candidate and row
        self._demos: dict[str, dict[int, dict[str, Any]]] = {}  # by place and row, the latest
        self._counts: dict[int, list[int]] = {}  # by row: misses, looks

    def add(self, candidate: Candidate, told: Told) -> None:
        """Take in a look; one that failed shows nothing."""
        harvest = harvested(self._sketch, told, threshold=self._threshold)
        for one in harvest.demos:
            self._demos.setdefault(one.place, {})[one.row] = one.demo
        if told.failed is None:
            for row in told.rows:
                count = self._counts.setdefault(row, [0, 0])
                count[0] += row not in harvest.passed
                count[1] += 1
        scores = self._scores.setdefault(candidate.key, {})
        scores.update({row: one for row, one in zip(told.rows, told.scores, strict=True) if one is not None})
        places = self._attempts.setdefault(candidate.key, {})
        for place, attempts in attempts_by_place(self._sketch, told).items():
            places.setdefault(place, {}).update({one.row: asdict(one) for one in attempts})

    def attempts(self, candidate: Candidate, place: str) -> list[Attempt]:
        """Return what is known of how a predictor did as a part of this candidate."""
        return [Attempt(**one) for one in self._attempts.get(candidate.key, {}).get(place, {}).values()]

    def rows_of(self, candidate: Candidate) -> set[int]:
        """Return the rows on which a candidate was seen."""
        return set(self._scores.get(candidate.key, ()))

    def gains(self, candidate: Candidate, sign: float) -> list[float]:
        """Return the scores of a candidate, larger is better."""
        return [sign * score for score in self._scores.get(candidate.key, {}).values()]

    def differences(self, one: Candidate, other: Candidate) -> list[float]:
        """Return by how much `one` scored more than the other on each row on which both were seen."""
        mine, theirs = self._scores.get(one.key, {}), self._scores.get(other.key, {})
        return [score - theirs[row] for row, score in mine.items() if row in theirs]

    def has_failures(self, candidate: Candidate) -> bool:
        """Return whether a candidate was seen to fail."""
        rows = self._attempts.get(candidate.key, {}).values()
        return any(not one["good"] for each in rows for one in each.values())

    def hardness(self, row: int) -> float:
        """Return the share of the looks at a row in which it went wrong, a half for a row never looked at."""
        misses, looks = self._counts.get(row, (0, 0))
        return (misses + 0.5) / (looks + 1.0)

    def hardest(self, rng: random.Random) -> list[int]:
        """Return the rows that went wrong at least once, those that did most often first."""
        wrong = [row for row, (misses, _) in sorted(self._counts.items()) if misses]
        return sorted(rng.sample(wrong, len(wrong)), key=lambda row: -self.hardness(row))

    def demos(self, place: str, rng: random.Random) -> list[dict[str, Any]]:
        """Return the demonstrations of a predictor, those of the hardest rows first."""
        known = self._demos.get(place, {})
        rows = rng.sample(sorted(known), len(known))
        return [known[row] for row in sorted(rows, key=lambda row: -self.hardness(row))]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "scores": {key: [list(one) for one in rows.items()] for key, rows in self._scores.items()},
            "attempts": {
                key: {place: list(rows.values()) for place, rows in places.items()}
                for key, places in self._attempts.items()
            },
            "demos": {place: [[row, one] for row, one in rows.items()] for place, rows in self._demos.items()},
            "counts": [[row, *count] for row, count in self._counts.items()],
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_json` gave."""
        self._attempts = {
            key: {place: {one["row"]: one for one in rows} for place, rows in places.items()}
            for key, places in data["attempts"].items()
        }
        self._scores = {key: dict(rows) for key, rows in data["scores"].items()}
        self._demos = {place: dict(rows) for place, rows in data["demos"].items()}
        self._counts = {row: [misses, looks] for row, misses, looks in data["counts"]}
