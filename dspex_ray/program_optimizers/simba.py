"""SIMBA, stochastic introspective mini-batch ascent: climb by small changes that runs on minibatches suggest.

The idea is DSPy's (`dspy/teleprompt/simba.py`, Khattab et al.; no paper): where runs of the same example differ, show
the good one as a demonstration, or ask a model for advice. What differs here: a change is tried on rows that its parent
ran already, so that they are paired and cost once; every row is credited; scores are shrunken; a candidate that is
behind gets no more rows; a change that declines or repeats costs nothing; advice is written from several examples with
the right answers and feedback; nothing waits for a whole step; other values move too, and what helped one leader is
grafted onto another; and the choice is by validation.

A candidate's way: made of a leader (`_change`), run on parts of that one's rows as long as it keeps up (`_race`), then
a leader itself; looked at on validation rows if it is the best (`_judge`), and run on further rows the more changes
begin with it (`_develop`).
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.comparison import measured, violation
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_ray.program_optimizers.reflective_evidence import records_of
from dspex_ray.program_optimizers.simba_advice import Contrast, advice_errand, heard
from dspex_ray.program_optimizers.simba_changes import Changes, Values
from dspex_ray.program_optimizers.simba_pool import Member, Pool
from dspex_ray.program_optimizers.simba_scores import softmax
from dspex_ray.program_optimizers.sketch import ProgramSketch

_log = logging.getLogger(__name__)

_WEIGHTS = {"rule": 4.0, "demo": 2.0, "move": 1.0, "drop": 1.0, "graft": 1.0}  # of the ways, before any was tried
_ATTEMPTS = 8  # draws of a leader to change, after which none is to be had now
_DOUBT = 0.25  # standard errors by which a candidate may be behind the leader and still get more rows
_SHOWN = 6  # examples that advice is written from
_GOOD = 0.9  # share of all runs that one must not be behind to be shown
_MOST_UNHEARD = 10  # errands that bring no new candidate, after which another change comes first
_VALIDATION_SHARE = 0.3  # of all rows asked, at most, for looks at validation rows
_PARTS = 4  # a first look is at a fourth of the validation rows


class Simba(SearchOptimizer):
    """Search for instructions, demonstrations and all other values of a program.

    A search ends when it has asked for `max_trials` times the rows of the validation split, train rows included; so it
    has more trials than `max_trials`, most of them on few rows. `minibatch` is the number of train rows on which a
    candidate is tried first (None: an eighth of them, from 4 to 16), `candidates` how many are tried at once, `pool`
    how many leaders changes begin with, drawn at `temperature` (a share of the range of scores). It ends before, and
    says why in `reason`, if every score is the same whatever is tried, or nothing is left to win.

    Raises OptimizerError for a setting that cannot be, and from `start` where there is nothing to learn from: no train
    rows, no objective `score`, or fewer trials than one change takes.
    """

    name = "simba"

    def __init__(  # noqa: PLR0913 - all keyword-only, each with a sound default
        self,
        sketch: ProgramSketch,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        minibatch: int | None = None,
        candidates: int = 4,
        pool: int = 4,
        max_demos: int = 4,
        max_chars: int = 4_000,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        least = {
            "minibatch": (1 if minibatch is None else minibatch, 1),
            "candidates": (candidates, 1),
            "pool": (pool, 1),
            "max_demos": (max_demos, 0),
            "max_chars": (max_chars, 100),
        }
        wrong = [f"{name} must be at least {low}, got {value}" for name, (value, low) in least.items() if value < low]
        if not 0 < temperature < math.inf:
            wrong.append(f"temperature must be above 0, got {temperature}")
        if wrong:
            raise OptimizerError(f"{self.name}: {'; '.join(wrong)}.")
        self._sketch, self._minibatch, self._at_once, self._leaders = sketch, minibatch, candidates, pool
        self._bounds = {"most_demos": max_demos, "most_chars": max_chars}
        self._temperature = temperature

    def prepare(self) -> None:
        """Begin with the default and the early candidates. Raises OptimizerError for what cannot be searched so."""
        context, rows = self.context, self.context.train_rows
        self._batch = min(rows, self._minibatch or min(16, max(4, -(-rows // 8))))
        self._refuse()
        self._sign = next(
            1.0 if one.direction == "maximize" else -1.0 for one in context.objectives if one.name == "score"
        )
        self._order = {
            name: seeded(context.seed, self.name, name).sample(range(count), count)
            for name, count in (("train", rows), ("validation", context.validation_rows))
        }
        self._changes = Changes(self._sketch, self.space, **self._bounds)
        self._pool = Pool(rows, [Member(one, looked=context.validation_rows) for one in self.opening])
        self._errands: dict[int, str] = {}  # by the number of an errand that is out: whom it is to advise
        self._born: list[Member] = []  # advised, and not looked at yet
        self._unheard = 0
        self.reason: str | None = None

    def spent(self) -> bool:
        """Whether no row is left to pay for."""
        return self.context.max_trials * self.context.validation_rows <= self.book.rows_asked

    @property
    def done(self) -> bool:
        """Whether all rows were asked, nothing is left to change, or there is a `reason` to end."""
        return super().done or self.reason is not None

    @property
    def tally(self) -> Mapping[str, tuple[int, int]]:
        """By the way in which candidates were made how many there are, and how many got better by it."""
        return self._pool.successes()

    def learn(self, told: Told) -> None:
        """Credit rows to their candidate, or make a candidate of the advice that an errand brought."""
        if told.split == "errand":
            self._hear(told)
        elif told.candidate.key in self._pool.members:
            known = told.mean is not None and measured(told, self.context)
            broken = violation(told.measures, self.context.bounds) if known else 0.0
            records = records_of(told, self._sketch, self._sign) if told.split == "train" else {}
            self._pool.credit(told, records, self._sign, broken)
            self.reason = self.reason or self._why_end()

    def _hear(self, told: Told) -> None:
        key = self._errands.pop(told.number, None)
        self._unheard += 1
        if key is None or told.failed is not None:
            return
        source = self._pool.members[key]
        advice = heard(self._sketch, self._changes.told, told.outputs[0])
        rng = seeded(self.context.seed, self.name, told.number, "heard")
        born = self._child(source, "rule", self._changes.advised(source.candidate.values, advice), rng)
        if born is not None:
            self._born.append(born)

    # ---- what is asked, the first there is of these

    def propose(self, number: int) -> Ask | None:
        """Return rows for a new candidate, a look at validation rows, or what brings a new candidate about."""
        ask = self._race() or self._judge() or self._develop(number)
        return ask or (None if self.book.pending else self._judge(last=True))

    def _race(self) -> Ask | None:
        """Ask for rows of a candidate that has just been made, or else of the best one that keeps up."""
        if self._born:
            return self._enter(self._born.pop(0))
        pending = {ask.candidate.key for ask in self.book.pending.values() if ask.split == "train"}
        running = (one for one in self._pool.racing(_DOUBT) if one.key not in pending)
        return next((self._rows(one, max(one.asked, self._batch)) for one in running), None)

    def _enter(self, member: Member) -> Ask:
        self._unheard = 0
        self._pool.add(member)
        return self._rows(member, self._batch)

    def _rows(self, member: Member, most: int) -> Ask:
        return Ask(member.candidate, "train", member.next_rows(most), traced=True)

    def _judge(self, *, last: bool = False) -> Ask | None:
        """Look at validation rows of whoever leads, in parts; at the end at whoever might."""
        rows, opening = self.context.validation_rows, len(self.opening)
        pending = [number for number, ask in self.book.pending.items() if ask.split == "validation"]
        if any(number >= opening for number in pending):
            return None
        ranked = self._pool.ranked()
        champion = next((one for one in ranked if one.looked >= rows), None)
        for member in ranked if last else ranked[:1]:
            if member.looked >= rows or (champion and self._is_behind(member, champion)):
                continue
            part = max(self._batch, -(-rows // _PARTS))
            count = min(rows, 2 * member.looked or part)
            looked = sum(one.looked for one in self._pool.members.values())
            cost = count - member.looked
            if last or looked + cost <= _VALIDATION_SHARE * (self.book.rows_asked + cost) + rows:
                member.looked = count
                return Ask(
                    member.candidate, rows=None if count == rows else tuple(sorted(self._order["validation"][:count]))
                )
        return None

    def _is_behind(self, member: Member, champion: Member) -> bool:
        ahead = self._pool.mean(member) + self._pool.estimate(member).error - self._pool.mean(champion)
        return ahead < 0 or member.broken > champion.broken

    def _develop(self, number: int) -> Ask | None:
        """Ask for further rows of a leader, or make a change of it."""
        pending = {ask.candidate.key for ask in self.book.pending.values() if ask.split == "train"}
        running = [key for key in pending if not self._pool.members[key].met]
        if len(self._errands) + len(running) >= self._at_once:
            return None
        rng = seeded(self.context.seed, self.name, number)
        leaders = self._pool.ranked()[: self._leaders]
        for _ in range(_ATTEMPTS if leaders else 0):
            source = self._source(leaders, rng)
            wanted = min(self.context.train_rows, self._batch * (2 + source.children))
            if source.asked < wanted:
                source.course += [row for row in self._order["train"] if row not in source.course]
                ask = self._rows(source, wanted - source.asked)
                del source.course[source.asked :]
                return ask
            if source.records:
                made = self._change(source, number, rng)
                if made is not None:
                    return made
        return None

    def _source(self, leaders: list[Member], rng: random.Random) -> Member:
        means = [self._pool.mean(one) for one in leaders]
        return rng.choices(leaders, softmax(means, self._temperature * (self._pool.width or 1.0)))[0]

    # ---- changes

    def _change(self, source: Member, number: int, rng: random.Random) -> Ask | None:
        """Make a change of a leader: the first look at a new candidate, or the errand of advising it."""
        weights = self._weights()
        while weights:
            way = rng.choices(list(weights), list(weights.values()))[0]
            del weights[way]
            if way == "rule":
                asked = self._rule(source, number, rng)
                if asked is not None:
                    return asked
                continue
            child = self._child(source, way, self._changed(source, way, rng), rng)
            if child is not None:
                return self._enter(child)
        return None

    def _weights(self) -> dict[str, float]:
        """Return with which weight each way is drawn: what makes better candidates is drawn more often."""
        tally = {way: self._pool.successes().get(way, (0, 0)) for way in _WEIGHTS}
        tally["rule"] = (self.book.asked - self.book.trials, tally["rule"][1])  # one that brought nothing was tried too
        return {way: _WEIGHTS[way] * (1 + better) / (2 + tried) for way, (tried, better) in tally.items()}

    def _changed(self, source: Member, way: str, rng: random.Random) -> Values | None:
        values = source.candidate.values
        match way:
            case "demo":
                return self._demo(source, rng)
            case "move":
                return self._changes.moved(values, rng)
            case "drop":
                return self._changes.dropped(values, rng)
        donors = self._pool.donors(source)[: self._leaders]
        if not donors:
            return None
        donor = rng.choice(donors)
        former = self._pool.members[donor.parent or ""]
        return self._changes.grafted(values, donor.candidate.values, former.candidate.values)

    def _demo(self, source: Member, rng: random.Random) -> Values | None:
        """Show good runs, first of rows on which the others did worse."""
        least, bar = self._pool.quantile(0.0), self._pool.quantile(_GOOD)
        found = [
            (row, run, above)
            for row, (run, above) in self._pool.best_runs().items()
            if run["gain"] > least and run["gain"] >= bar
        ]
        rng.shuffle(found)
        found.sort(key=lambda one: -one[2])
        chosen = [(row, run) for row, run, _ in found[: 2 * self._bounds["most_demos"]]]
        rng.shuffle(chosen)
        return self._changes.demonstrated(source.candidate.values, chosen, rng)

    def _rule(self, source: Member, number: int, rng: random.Random) -> Ask | None:
        """Ask what the source should have been told on rows where it did worse than can be."""
        bar = (
            self._pool.quantile(1.0) if self._pool.width else math.inf
        )  # where all scores are one, any run may be a bad one
        bad = [row for row, one in source.records.items() if one["gain"] is not None and one["gain"] < bar]
        if not bad or not self._changes.told or self._unheard >= _MOST_UNHEARD:
            return None
        best = self._pool.best_runs()
        shown: list[Contrast] = []
        for row in rng.sample(bad, min(_SHOWN, len(bad))):
            own, other = source.records[row], best[row][0]
            shown.append((self._sketch.rows[row], own, other if other["gain"] > own["gain"] else None))
        self._errands[number] = source.key
        errand = advice_errand(self._sketch, self._changes.told, source.candidate.values, shown, number)
        return Ask(Candidate(errand), "errand")

    def _child(self, source: Member, way: str, values: Values | None, rng: random.Random) -> Member | None:
        """Return a new candidate that is to run on the rows of its source in a random order; None for a known one."""
        candidate = None if values is None else self.space.repair(values, rng)
        if candidate is None or candidate.key in self.book.seen or any(one.key == candidate.key for one in self._born):
            return None
        return Member(candidate, source.key, way, rng.sample(source.course, len(source.course)))

    # ---- the end

    def _why_end(self) -> str | None:
        if not any(one.scores for one in self._pool.members.values()):
            return None
        low, high, rows = self._pool.quantile(0.0), self._pool.quantile(1.0), self.context.validation_rows
        tried = [one for one in self._pool.members.values() if one.parent is not None and one.met]
        if low == high and len(tried) >= self._at_once:
            reason = f"Every score is {self._sign * low:g}, whatever was tried: this metric and data teach nothing."
            _log.warning("%s: %s", self.name, reason)
            return reason
        best = self.book.best
        if best is None or len(self.context.objectives) > 1 or self._sign < 0 or high != 1.0 or low < 0.0:
            return None
        member = self._pool.members.get(best.candidate.key)
        if (
            member is None
            or member.broken > 0
            or len(member.scores) < rows + self._batch
            or min(member.scores.values()) < 1
        ):
            return None
        return f"The best candidate has the score 1 on all its {len(member.scores)} rows: nothing is left to win."

    def _refuse(self) -> None:
        context = self.context
        if all(one.name != "score" for one in context.objectives):
            names = ", ".join(one.name for one in context.objectives)
            raise OptimizerError(f"{self.name} climbs by 'score', which is no objective of this search ({names}).")
        if context.train_rows < 1 or len(self._sketch.rows) != context.train_rows:
            raise OptimizerError(
                f"{self.name} learns from train rows, but the search has {context.train_rows} and the sketch of the "
                f"program {len(self._sketch.rows)}."
            )
        least = len(self.opening) + 1 + -(-2 * self._batch // context.validation_rows)
        if context.max_trials < least:
            raise OptimizerError(
                f"{self.name} cannot try a single change in {context.max_trials} trials of {context.validation_rows} "
                f"validation rows: at least {least} are needed, for the first candidates, a minibatch of {self._batch} "
                "train rows with and without the change, and a look at validation rows."
            )

    def extra_state(self) -> dict[str, Any]:
        """Return the pool, the errands that are out and the candidates that wait for a first look."""
        return {
            "members": [one.to_json() for one in self._pool.members.values()],
            "errands": [[number, key] for number, key in self._errands.items()],
            "born": [one.to_json() for one in self._born],
            "unheard": self._unheard,
            "reason": self.reason,
        }

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over what `extra_state` gave."""
        self._pool = Pool(self.context.train_rows, [Member.from_json(one) for one in extra["members"]])
        self._errands = dict(extra["errands"])
        self._born = [Member.from_json(one) for one in extra["born"]]
        self._unheard, self.reason = extra["unheard"], extra["reason"]
