"""`Ways`: how SIMBA makes a new candidate of a leader, and what of the runs so far it learns from."""

from __future__ import annotations

import math
import random
from typing import Any

from dspex_coordination.space import Space
from dspex_ray.program_optimizers.simba_advice import advice_errand, heard
from dspex_ray.program_optimizers.simba_changes import Changes, Values
from dspex_ray.program_optimizers.simba_pool import Member, Pool
from dspex_ray.program_optimizers.sketch import ProgramSketch

_WEIGHTS = {"rule": 4.0, "demo": 2.0, "move": 1.0, "drop": 1.0, "graft": 1.0}  # before any was tried
_SHOWN = 6  # examples that advice is written from
_GOOD = 0.9  # share of all runs that one must not be behind to be shown


class Ways:
    """The ways to change a candidate: advice is a `rule`, all others need no model."""

    def __init__(self, sketch: ProgramSketch, space: Space, *, most_demos: int, most_chars: int) -> None:
        self._sketch, self._most_demos = sketch, most_demos
        self._changes = Changes(sketch, space, most_demos=most_demos, most_chars=most_chars)

    def drawn(self, pool: Pool, errands: int, rng: random.Random) -> list[str]:
        """Return all ways in a random order: what makes better candidates tends to stand first.

        Each errand counts as a rule that was tried, also one that brought nothing.
        """
        tally = {way: pool.successes().get(way, (0, 0)) for way in _WEIGHTS}
        tally["rule"] = (errands, tally["rule"][1])
        weights = {way: _WEIGHTS[way] * (1 + better) / (2 + tried) for way, (tried, better) in tally.items()}
        return sorted(weights, key=lambda way: rng.random() ** (1 / weights[way]), reverse=True)  # Efraimidis 2006

    def changed(self, way: str, source: Member, pool: Pool, rng: random.Random) -> Values | None:
        """Return the values of a new candidate; None where this way has nothing to offer."""
        values = source.candidate.values
        match way:
            case "move":
                return self._changes.moved(values, rng)
            case "drop":
                return self._changes.dropped(values, rng)
            case "demo":
                return self._changes.demonstrated(values, self._good_runs(pool, rng), rng)
        donors = pool.donors(source)
        if not donors:
            return None
        donor = rng.choice(donors)
        former = pool.members[donor.parent or ""]
        return self._changes.grafted(values, donor.candidate.values, former.candidate.values)

    def _good_runs(self, pool: Pool, rng: random.Random) -> list[Any]:
        """Draw from the good runs on rows where others did worst."""
        least, bar = pool.quantile(0.0), pool.quantile(_GOOD)
        good = [(row, *one) for row, one in pool.best_runs().items() if one[0]["gain"] >= bar]
        good = [one for one in rng.sample(good, len(good)) if one[1]["gain"] > least]
        hardest = sorted(good, key=lambda one: -one[2])[: 2 * self._most_demos]
        return [(row, run) for row, run, _ in rng.sample(hardest, len(hardest))]

    def errand(self, source: Member, pool: Pool, number: int, rng: random.Random) -> dict[str, Any] | None:
        """Return the errand of asking what the source should have been told where it did worse than can be."""
        bar = pool.quantile(1.0) if pool.width else math.inf  # where all scores are one, any run may be a bad one
        bad = [row for row, one in source.records.items() if one["gain"] is not None and one["gain"] < bar]
        if not bad or not self._changes.told:
            return None
        best = {row: run for row, (run, _) in pool.best_runs().items()}
        shown = [(row, source.records[row]) for row in rng.sample(bad, min(_SHOWN, len(bad)))]
        runs = [
            (self._sketch.rows[row], own, best[row] if best[row]["gain"] > own["gain"] else None) for row, own in shown
        ]
        return advice_errand(self._sketch, self._changes.told, source.candidate.values, runs, number)

    def advised(self, source: Member, answer: Any) -> Values | None:
        """Return the values of the source with the advice in the answer to an errand."""
        return self._changes.advised(source.candidate.values, heard(self._sketch, self._changes.told, answer))
