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
from dspex_ray.program_optimizers.run_evidence import records_of
from dspex_ray.program_optimizers.shrunken_scores import softmax
from dspex_ray.program_optimizers.simba_changes import Values
from dspex_ray.program_optimizers.simba_pool import Member, Pool
from dspex_ray.program_optimizers.simba_ways import Ways
from dspex_ray.program_optimizers.sketch import ProgramSketch

_log = logging.getLogger(__name__)

_ATTEMPTS = 8  # draws of a leader to change, after which none is to be had now
_DOUBT = 0.25  # standard errors by which a candidate may be behind the leader and still get more rows
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
        drawn = range(context.validation_rows)
        self._order = seeded(context.seed, self.name, "validation").sample(drawn, len(drawn))
        self._ways = Ways(self._sketch, self.space, **self._bounds)
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
        rng = seeded(self.context.seed, self.name, told.number, "heard")
        born = self._child(source, "rule", self._ways.advised(source, told.outputs[0]), rng)
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
        looked = sum(one.looked for one in self._pool.members.values())
        for member in ranked if last else ranked[:1]:
            if member.looked >= rows or (champion and self._is_behind(member, champion)):
                continue
            count = min(rows, 2 * member.looked or max(self._batch, -(-rows // _PARTS)))
            cost = count - member.looked
            if last or looked + cost <= _VALIDATION_SHARE * (self.book.rows_asked + cost) + rows:
                member.looked = count
                return Ask(member.candidate, rows=tuple(sorted(self._order[:count])) if count < rows else None)
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
        rng, rows = seeded(self.context.seed, self.name, number), self.context.train_rows
        leaders = self._pool.ranked()[: self._leaders]
        for _ in range(_ATTEMPTS if leaders else 0):
            source = self._source(leaders, rng)
            missing = min(rows, self._batch * (2 + source.children)) - len(source.course)
            if missing > 0:
                source.course += rng.sample(sorted(set(range(rows)) - set(source.course)), missing)
                return self._rows(source, missing)
            made = self._change(source, number, rng) if source.records else None
            if made is not None:
                return made
        return None

    def _source(self, leaders: list[Member], rng: random.Random) -> Member:
        means = [self._pool.mean(one) for one in leaders]
        return rng.choices(leaders, softmax(means, self._temperature * (self._pool.width or 1.0)))[0]

    # ---- changes

    def _change(self, source: Member, number: int, rng: random.Random) -> Ask | None:
        """Make a change of a leader: the first look at a new candidate, or the errand of advising it."""
        for way in self._ways.drawn(self._pool, self.book.asked - self.book.trials, rng):
            if way != "rule":
                child = self._child(source, way, self._ways.changed(way, source, self._pool, rng), rng)
                if child is not None:
                    return self._enter(child)
            elif self._unheard < _MOST_UNHEARD:
                errand = self._ways.errand(source, self._pool, number, rng)
                if errand is not None:
                    self._errands[number] = source.key
                    return Ask(Candidate(errand), "errand")
        return None

    def _child(self, source: Member, way: str, values: Values | None, rng: random.Random) -> Member | None:
        """Return a new candidate that is to run on the rows of its source in a random order; None for a known one."""
        candidate = None if values is None else self.space.repair(values, rng)
        if candidate is None or candidate.key in self.book.seen or any(one.key == candidate.key for one in self._born):
            return None
        return Member(candidate, source.key, way, rng.sample(source.course, len(source.course)))

    # ---- the end

    def _why_end(self) -> str | None:
        low, high, best = self._pool.quantile(0.0), self._pool.quantile(1.0), self.book.best
        tried = [one for one in self._pool.members.values() if one.parent is not None and one.met]
        if low == high and len(tried) >= self._at_once:
            reason = f"Every score is {self._sign * low:g}, whatever was tried: this metric and data teach nothing."
            _log.warning("%s: %s", self.name, reason)
            return reason
        member = None if best is None else self._pool.members.get(best.candidate.key)
        if member is None or member.broken > 0 or len(self.context.objectives) > 1 or low < 0.0 or high != 1.0:
            return None
        known = member.scores.values()
        if len(known) < self.context.validation_rows + self._batch or min(known) < high:
            return None
        return f"The best candidate has the score 1 on all its {len(known)} rows: nothing is left to win."

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
