"""SIMBA, stochastic introspective mini-batch ascent: climb by small changes that runs on minibatches suggest.

The idea is DSPy's (`dspy/teleprompt/simba.py`, Khattab et al.; no paper): rows on which candidates differ teach most,
by a demonstration from the best run or by advice from comparing two runs. What differs here: every row run is credited
to its candidate, on rows whose difficulty is known from the others; scores are shrunken; a candidate that is clearly
behind gets no more rows; a change that declines or repeats costs nothing; nothing waits for a whole step; numbers and
choices are moved too, and a change that helped one leader is grafted onto another; and the choice is by validation.
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
from dspex_ray.program_optimizers.simba_advice import heard
from dspex_ray.program_optimizers.simba_changes import Changed, Changes
from dspex_ray.program_optimizers.simba_field import Field
from dspex_ray.program_optimizers.simba_members import Member
from dspex_ray.program_optimizers.simba_runs import runs_of
from dspex_ray.program_optimizers.simba_steps import Errand, Maker, batch_of
from dspex_ray.program_optimizers.sketch import ProgramSketch

_log = logging.getLogger(__name__)

_MOST_BATCH = 16
_LOOKS = 4  # a batch is looked at in so many parts, each new one as large as all before
_VALIDATION_SHARE = 0.4  # of all rows asked, at most, for looks at validation rows


class Simba(SearchOptimizer):
    """Search for instructions, demonstrations and all other values of a program.

    A search ends when it has asked for `max_trials` times the rows of the validation split, train rows included; so it
    has more trials than `max_trials`, most of them on few rows. `minibatch` is the number of train rows of a step (by
    default a quarter of them, from 4 to 16), `candidates` how many new ones a step has, `pool` how many leaders changes
    begin with, drawn at `temperature` (a share of the range of scores). It ends before, and says why in `reason`, if
    every score is the same whatever is tried, or nothing is left to win.

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
        candidates: int = 6,
        pool: int = 4,
        max_demos: int = 4,
        max_advice: int = 8,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        least = {
            "candidates": (candidates, 1),
            "pool": (pool, 1),
            "max_demos": (max_demos, 0),
            "max_advice": (max_advice, 0),
        }
        wrong = [f"{name} must be at least {low}, got {value}" for name, (value, low) in least.items() if value < low]
        if minibatch is not None and minibatch < 1:
            wrong.append(f"minibatch must be at least 1, got {minibatch}")
        if not 0 < temperature < math.inf:
            wrong.append(f"temperature must be above 0, got {temperature}")
        if wrong:
            raise OptimizerError(f"{self.name}: {'; '.join(wrong)}.")
        self._sketch, self._given_batch, self._candidates, self._pool = sketch, minibatch, candidates, pool
        self._max_demos, self._max_advice, self._temperature = max_demos, max_advice, temperature
        self.reason: str | None = None

    def prepare(self) -> None:
        """Begin with the default and the early candidates. Raises OptimizerError for what cannot be searched so."""
        rows = self.context.train_rows
        self._batch = min(rows, self._given_batch or min(_MOST_BATCH, max(4, -(-rows // 4))))
        self._refuse()
        self._sign = next(
            1.0 if one.direction == "maximize" else -1.0 for one in self.context.objectives if one.name == "score"
        )
        validation = range(self.context.validation_rows)
        self._order = seeded(self.context.seed, self.name, "validation").sample(validation, len(validation))
        changes = Changes(self._sketch, self.space, most_demos=self._max_demos, most_advice=self._max_advice)
        self._field = Field(self._pool, rows)
        self._maker = Maker(self._sketch, changes, self._field, self._temperature)
        for candidate in self.opening:
            self._field.add(Member(Changed(candidate), looked=self.context.validation_rows))
        self._errands: dict[int, Errand] = {}
        self._born: list[Member] = []
        self._step = self._entered = self._looked = 0
        self.reason = None

    def spent(self) -> bool:
        """Whether no row is left to pay for."""
        return self.context.max_trials * self.context.validation_rows <= self.book.rows_asked

    @property
    def done(self) -> bool:
        """Whether all rows were asked, nothing is left to change, or there is a `reason` to end."""
        return super().done or self.reason is not None

    def learn(self, told: Told) -> None:
        """Credit rows to their candidate, or make a candidate of the advice that an errand brought."""
        if told.split == "errand":
            self._hear(told)
            return
        if told.candidate.key not in self._field.members:
            return
        bounds = self.context.bounds
        broken = violation(told.measures, bounds) if told.mean is not None and measured(told, self.context) else 0.0
        runs = runs_of(told, self._sketch, self._sign) if told.split == "train" and told.mean is not None else []
        self._field.credit(told, runs, self._sign, broken)
        self._note_pending()
        self.reason = self.reason or self._why_end()

    def _hear(self, told: Told) -> None:
        asked = self._errands.pop(told.number, None)
        if asked is None or told.failed is not None:
            return  # nobody advised: nothing is lost but the errand
        source = self._field.members[asked.source]
        advice = heard(self._sketch, source.candidate.values, told.outputs[0])
        made = self._maker.advised(source, advice)
        if made is not None and self._is_new(made.candidate):
            self._born.append(Member(made, source.key, "rule", asked.rows))

    def propose(self, number: int) -> Ask | None:
        """Return the first there is of these: a first look, a look at validation rows, rows to compare, a change."""
        self._note_pending()
        rng = seeded(self.context.seed, self.name, number)
        ask = (
            self._first_look()
            or self._validation()
            or self._fill_in()
            or self._next_rows()
            or self._change(number, rng)
        )
        if ask is None and not self.book.pending:
            ask = self._validation(last=True)
        return ask

    def _note_pending(self) -> None:
        self._field.await_rows(one.candidate.key for one in self.book.pending.values() if one.split == "train")

    def _is_new(self, candidate: Candidate) -> bool:
        return candidate.key not in self.book.seen and all(one.key != candidate.key for one in self._born)

    def _first_look(self) -> Ask | None:
        return self._enter(self._born.pop(0)) if self._born else None

    def _enter(self, member: Member) -> Ask:
        """Look at a new candidate on the first rows of the step, and on the row that it is to do better on."""
        batch = batch_of(self._step, self._batch, self.context.train_rows, self.context.seed)
        member.batch = (*member.batch, *(row for row in batch if row not in member.batch))
        self._field.add(member)
        self._entered += 1
        if self._entered % self._candidates == 0:
            self._step += 1
            self._field.forget()
        return self._rows(member, member.batch[: max(2, self._batch // _LOOKS)])

    def _rows(self, member: Member, rows: tuple[int, ...]) -> Ask:
        member.asked.update(rows)
        return Ask(member.candidate, "train", tuple(sorted(rows)), traced=True)

    def _fill_in(self) -> Ask | None:
        """Ask for the step's rows that a leader has not met, so that comparisons with it are paired."""
        batch = batch_of(self._step, self._batch, self.context.train_rows, self.context.seed)
        for member in self._field.pool():
            rows = tuple(row for row in batch if row not in member.asked)
            if rows:
                member.batch = batch
                return self._rows(member, rows)
        return None

    def _next_rows(self) -> Ask | None:
        """Ask for more rows of the best one that is not clearly behind."""
        for member in self._field.racing():
            return self._rows(member, member.lacks[: max(2, len(member.asked))])
        return None

    def _change(self, number: int, rng: random.Random) -> Ask | None:
        if len(self._errands) >= self._candidates:
            return None
        made = self._maker.make(rng, self._is_new)
        if isinstance(made, Member):
            return self._enter(made)
        if made is None:
            return None
        self._errands[number] = made
        return Ask(made.candidate, "errand")

    def _validation(self, *, last: bool = False) -> Ask | None:
        """Look at whoever leads all that were validated, in two parts; at the end at whoever might."""
        rows, opening = self.context.validation_rows, len(self.opening)
        if any(ask.split == "validation" and number >= opening for number, ask in self.book.pending.items()):
            return None
        champion = self._field.champion(rows)
        for member in self._field.ranked():
            if member.looked >= rows:
                if champion is not None and not last:
                    return None
                continue
            if (
                last
                and champion is not None
                and self._field.mean(member) + self._field.estimates[member.key].error < self._field.mean(champion)
            ):
                continue
            part = max(self._batch, -(-rows // 4))
            count = rows if member.looked or 2 * part > rows else part
            cost = count - member.looked
            if not last and self._looked + cost > _VALIDATION_SHARE * (self.book.rows_asked + cost):
                return None
            member.looked, self._looked = count, self._looked + cost
            return Ask(member.candidate, rows=None if count == rows else tuple(sorted(self._order[:count])))
        return None

    def _why_end(self) -> str | None:
        low, high = self._field.span
        known = [one for one in self._field.members.values() if one.scores and not one.out]
        tried = [one for one in known if one.parent is not None and not one.lacks]
        if low == high and len(tried) >= self._candidates:
            reason = f"Every score is {self._sign * low:g}, whatever was tried: this metric and data teach nothing."
            _log.warning("%s: %s", self.name, reason)
            return reason
        if len(self.context.objectives) > 1 or self._sign < 0 or high != 1.0 or low < 0.0:
            return None
        best = self.book.best
        member = None if best is None else self._field.members.get(best.candidate.key)
        if (
            best is None
            or member is None
            or best.mean != 1.0
            or len(best.rows) < self.context.validation_rows
            or member.broken > 0
        ):
            return None
        if len(member.scores) < len(best.rows) + self._batch or min(member.scores.values()) < 1.0:
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
        """Return the field, the errands that are out and the candidates that wait for a first look."""
        return {
            "field": self._field.to_json(),
            "errands": [[number, one.to_json()] for number, one in self._errands.items()],
            "tried": self._maker.tried,
            "born": [one.to_json() for one in self._born],
            "step": self._step,
            "entered": self._entered,
            "looked": self._looked,
            "reason": self.reason,
        }

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over what `extra_state` gave."""
        self._field.load(extra["field"])
        self._errands = {int(number): Errand.from_json(one) for number, one in extra["errands"]}
        self._maker.tried = list(extra["tried"])
        self._born = [Member.from_json(one) for one in extra["born"]]
        self._step, self._entered, self._looked = extra["step"], extra["entered"], extra["looked"]
        self.reason = extra["reason"]
        self._note_pending()
