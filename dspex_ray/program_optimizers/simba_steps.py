"""How SIMBA makes its next candidate: from whom, by which change, taught by which row; and the rows of each step."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.draws import seeded
from dspex_ray.program_optimizers.simba_advice import advice_errand
from dspex_ray.program_optimizers.simba_changes import Changed, Changes
from dspex_ray.program_optimizers.simba_field import Field
from dspex_ray.program_optimizers.simba_members import Member, Way
from dspex_ray.program_optimizers.simba_runs import Bucket, by_variability
from dspex_ray.program_optimizers.simba_scores import softmax
from dspex_ray.program_optimizers.sketch import ProgramSketch

_ATTEMPTS = 24  # draws of a source and a change, after which none is to be had now
_FIRST_FEW = 4  # rows out of which the one to learn from is drawn, those that teach most


@lru_cache(maxsize=8)
def _epoch(epoch: int, rows: int, seed: int) -> tuple[int, ...]:
    return tuple(seeded(seed, "simba", "epoch", epoch).sample(range(rows), rows))


def batch_of(step: int, size: int, rows: int, seed: int) -> tuple[int, ...]:
    """Return the train rows of a step: each epoch is shuffled anew, and its last batch filled up from its start."""
    epoch, position = divmod(step, -(-rows // size))
    order = _epoch(epoch, rows, seed)
    return tuple((*order, *order)[position * size : (position + 1) * size])


@dataclass(frozen=True, slots=True)
class Errand:
    """Advice that is asked for: the candidate, and the rows that the advised one is to do better on."""

    candidate: Candidate
    source: str
    rows: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {"candidate": self.candidate.to_json(), "source": self.source, "rows": list(self.rows)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Errand:
        """Rebuild from `to_json`."""
        return Errand(Candidate(data["candidate"]), data["source"], tuple(data["rows"]))


class Maker:
    """Makes candidates. `tried` names the errands asked so far, so that none is asked twice."""

    def __init__(self, sketch: ProgramSketch, changes: Changes, field: Field, temperature: float) -> None:
        self._sketch, self._changes, self._field, self._temperature = sketch, changes, field, temperature
        self.tried: list[str] = []

    def make(self, rng: random.Random, is_new: Callable[[Candidate], bool]) -> Member | Errand | None:
        """Return a new candidate, or an errand for one; None if every change that was drawn declined.

        Nothing changes but that an errand is noted as tried.
        """
        sources = self._field.pool() or list(self._field.members.values())[:1]
        ways = self._ways()
        if not ways:
            return None
        for _ in range(_ATTEMPTS):
            source = self._source(sources, rng)
            way = rng.choices(list(ways), list(ways.values()))[0]
            if way == "rule":
                asked = self._rule(source, rng)
                if asked is not None:
                    self.tried.append(asked.candidate.key)
                    return asked
                continue
            made = self._changed(source, way, rng)
            if made is not None and is_new(made.candidate):
                return Member(made, source.key, way)
        return None

    def advised(self, source: Member, advice: Mapping[str, str]) -> Changed | None:
        """Return a candidate that is told some advice more; None if that changes nothing."""
        new = {name: [piece] for name, piece in advice.items()}
        return self._changes.advised(source.candidate.values, source.advice, new)

    def _ways(self) -> dict[Way, float]:
        """Return the ways that there are with their weights: what made better candidates is drawn more often."""
        possible: dict[Way, bool] = {
            "rule": bool(self._changes.instructions),
            "demo": bool(self._changes.shown),
            "move": bool(self._changes.movable),
            "graft": True,
        }
        tally = self._field.tally()
        weights: dict[Way, float] = {}
        for way, can in possible.items():
            tried, won = tally.get(way, (0, 0))
            if can:
                weights[way] = (1 + won) / (2 + tried)
        return weights

    def _source(self, sources: Sequence[Member], rng: random.Random) -> Member:
        if len(sources) < 2:  # noqa: PLR2004 - nothing to draw
            return sources[0]
        low, high = self._field.span
        means = [self._field.mean(one) for one in sources]
        return rng.choices(sources, softmax(means, self._temperature * ((high - low) or 1.0)))[0]

    def _changed(self, source: Member, way: Way, rng: random.Random) -> Changed | None:
        values, advice = source.candidate.values, source.advice
        match way:
            case "demo":
                return self._demo(source, rng)
            case "move":
                return self._changes.moved(values, advice, rng)
        donors = self._field.donors(source)
        if not donors:
            return None
        donor = rng.choice(donors[: self._field.size])
        former = self._field.members[donor.parent or ""]
        return self._changes.grafted(source.made, donor.made, former.made, rng)

    def _demo(self, source: Member, rng: random.Random) -> Changed | None:
        """Show what the best run of a row did: one of those on which candidates differ most, and a good run at all."""
        low, top = self._field.span
        if low == top:
            return None  # no run is known to be a good one
        scores = [run.score for bucket in self._field.buckets.values() for run in bucket.by_key.values()]
        bar = fmean(scores) if scores else top
        made = []
        for _, bucket in by_variability(self._field.buckets):
            best = bucket.best
            if best is None or not (best.score >= top or best.score > bar):
                continue
            one = self._changes.demonstrated(source.candidate.values, source.advice, best, rng)
            if one is not None:
                made.append(one)
            if len(made) == _FIRST_FEW:
                break
        return rng.choice(made) if made else None

    def _rule(self, source: Member, rng: random.Random) -> Errand | None:
        """Ask what the source should have been told on a row where it did worse than can be."""
        low, top = self._field.span
        bar = top if low < top else math.inf  # where all scores are one, any run may be a bad one
        rows = [(row, bucket) for row, bucket in self._field.buckets.items() if _loses(bucket, source.key, bar)]
        rng.shuffle(rows)
        rows.sort(key=lambda entry: _worth(entry[1], source.key), reverse=True)
        for row, bucket in rows:
            bad, best = bucket.by_key[source.key], bucket.best
            good = best if best is not None and best.score > bad.score else None
            example = self._sketch.rows[row]
            asked = Candidate(advice_errand(self._sketch, source.candidate.values, example, good, bad))
            if asked.key not in self.tried:
                return Errand(asked, source.key, (row,))
        return None


def _loses(bucket: Bucket, key: str, top: float) -> bool:
    run = bucket.by_key.get(key)
    return run is not None and run.score < top


def _worth(bucket: Bucket, key: str) -> tuple[float, float]:
    """Return what rows are sorted by: how much better another did than this one, then how good that was."""
    best = bucket.best
    return (0.0, 0.0) if best is None else (best.score - bucket.by_key[key].score, best.score)
