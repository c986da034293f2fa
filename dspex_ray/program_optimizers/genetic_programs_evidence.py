"""`Evidence`: how programs did on the rows on which they were looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Told
from dspex_ray.program_optimizers.bootstrapped import harvested
from dspex_ray.program_optimizers.demo_shelf import DemoShelf
from dspex_ray.program_optimizers.proposals_evidence import Attempt, attempts_by_place, secret_names
from dspex_ray.program_optimizers.sketch import ProgramSketch


class Evidence:
    """By a candidate's key the rows asked for, how its calls did, and how many looks and texts there were of it.

    Looks that failed count too, so that none is repeated.
    """

    def __init__(self, sketch: ProgramSketch, threshold: float) -> None:
        self._sketch, self._threshold = sketch, threshold
        secret = secret_names(sketch)
        self._secret = {one.place for one in sketch.predictors if any(each.name in secret for each in one.inputs)}
        self._rows: dict[str, list[int]] = {}
        self._looks: dict[str, int] = {}
        self._texts: dict[str, int] = {}
        self._attempts: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def look(self, candidate: Candidate, rows: Sequence[int]) -> None:
        """Note that a look is under way."""
        self._rows[candidate.key] = [*self._rows.get(candidate.key, ()), *rows]
        self._looks[candidate.key] = self.looks_at(candidate) + 1

    def wrote(self, candidate: Candidate) -> None:
        """Note that a text is asked for."""
        self._texts[candidate.key] = self.texts_of(candidate) + 1

    def add(self, told: Told, shelves: Mapping[str, DemoShelf]) -> None:
        """Take in a look, and put the demonstrations it gave on the shelves, but for those that hold a secret."""
        made = harvested(self._sketch, told, threshold=self._threshold).demos
        for shelf in shelves.values():
            shelf.add([one for one in made if one.place not in self._secret])
        places = self._attempts.setdefault(told.candidate.key, {})
        for place, attempts in attempts_by_place(self._sketch, told).items():
            places.setdefault(place, []).extend(asdict(one) for one in attempts)

    def looks_at(self, candidate: Candidate) -> int:
        """Return how many looks there were or are under way."""
        return self._looks.get(candidate.key, 0)

    def texts_of(self, candidate: Candidate) -> int:
        """Return how many texts were asked for."""
        return self._texts.get(candidate.key, 0)

    def seen(self, candidate: Candidate) -> bool:
        """Return whether a look has ended."""
        return candidate.key in self._attempts

    def unseen(self, candidate: Candidate, rows: int) -> list[int]:
        """Return which of so many rows were not asked for yet."""
        known = set(self._rows.get(candidate.key, ()))
        return [row for row in range(rows) if row not in known]

    def attempts(self, candidate: Candidate, place: str) -> list[Attempt]:
        """Return how a predictor did as a part of this candidate."""
        return [Attempt(**one) for one in self._attempts.get(candidate.key, {}).get(place, ())]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "rows": {key: list(rows) for key, rows in self._rows.items()},
            "looks": dict(self._looks),
            "texts": dict(self._texts),
            "attempts": {
                key: {place: list(found) for place, found in places.items()} for key, places in self._attempts.items()
            },
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_json` gave."""
        self._rows = {key: list(rows) for key, rows in data["rows"].items()}
        self._looks, self._texts = dict(data["looks"]), dict(data["texts"])
        self._attempts = {
            key: {place: list(found) for place, found in places.items()} for key, places in data["attempts"].items()
        }


def scores_ahead(told: Told, other: Told) -> list[float]:
    """Return by how much one result scores above another, row by row, where both have a score."""
    known = dict(zip(other.rows, other.scores, strict=True))
    return [
        score - than
        for row, score in zip(told.rows, told.scores, strict=True)
        if score is not None and (than := known.get(row)) is not None
    ]
