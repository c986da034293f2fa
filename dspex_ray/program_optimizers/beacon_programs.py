"""BEACON for programs: one Bayesian search over instructions, demonstrations and all variables of a program together.

What there is to choose from is made in rounds: a traced look at train rows gives demonstrations (Khattab et al. 2023,
arXiv:2310.03714) and examples of success and failure, from which a model writes instructions (as in MIPROv2, Opsahl-Ong
et al. 2024, arXiv:2406.11695). Unlike there, each round builds on the best candidate and how it still fails (as in
GEPA, Agrawal et al. 2025, arXiv:2507.19457), and the choice is made jointly with numbers, models and all else by
`dspex_coordination.optimizers.beacon`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.comparison import ranked, violation
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_ray.program_optimizers.beacon_programs_block import Block
from dspex_ray.program_optimizers.beacon_programs_inner import Inner
from dspex_ray.program_optimizers.beacon_programs_pools import Pools, fits
from dspex_ray.program_optimizers.beacon_programs_rounds import Rounds
from dspex_ray.program_optimizers.sketch import ProgramSketch

_YOUNG, _BROAD, _BROAD_LATER = 30, 2, 4  # up to 30 trials every second is none of the model's, then every fourth
_PRIOR_ROWS = 16  # of the mean result, with which each is mixed
_EARLIER = 12  # of the trials of earlier runs, the best, whose texts and demonstrations are chosen from too


class BeaconPrograms(SearchOptimizer):
    """Joint search in rounds: a look, `proposals` new instructions for each predictor, and a search among all.

    A round looks at how the best candidate does on train rows that it was not seen on yet (up to 24, one trial), asks
    for instructions that build on its own, and tries each in its place; `every` further results of the Bayesian search
    later the next round begins, up to `rounds` (None: as long as they bring something new). A row that scores at least
    `threshold` gives demonstrations. The search begins with `initial` trials that cover the space.

    Of 32 validation rows or more the same few (`block`) are looked at first, and more only where a new best is
    likely; then `max_trials` counts whole looks. Takes any number of objectives and bounds. An instruction with a pool
    of its own keeps to it. Where no row can be looked at or no text may be written, the search is among what there is.
    What was chosen from being exhausted, it draws from the whole space. Raises OptimizerError for numbers that cannot
    be.
    """

    name = "beacon_programs"

    def __init__(  # noqa: PLR0913 - keyword-only settings, each with a sound default
        self,
        sketch: ProgramSketch,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        proposals: int = 4,
        rounds: int | None = None,
        every: int = 4,
        initial: int = 8,
        threshold: float = 1.0,
        block: int | None = None,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        if min(proposals, rounds or 0) < 0 or min(every, initial, block or 1) < 1:
            raise OptimizerError(
                f"{self.name}: proposals and rounds must be at least 0, every, initial and block "
                f"at least 1, got {proposals}, {rounds}, {every}, {initial} and {block}."
            )
        self._sketch, self._proposals, self._rounds = sketch, proposals, rounds
        self._every, self._initial, self._threshold = every, initial, threshold
        self._first_rows = block

    def prepare(self) -> None:
        """Begin with what can be chosen from without a model."""
        known = [told.candidate for told in ranked(self.book.earlier, self.context)[:_EARLIER]]
        self._block = Block(self.context, self._first_rows)
        self._pools = Pools(self.space, self.context.seed, [*self.opening, *known])
        settings = (self._proposals, self._threshold)
        self._made = Rounds(self._sketch, self.space, self.context, self._pools, settings)
        self._searches = 0  # trials of the inner search since the last round began
        self._settled: list[int] = []  # trials that no further look follows, in that order
        self._promising: list[int] = []  # trials whose candidates are to be looked at on more rows, best first
        self._gated: dict[int, int] = {}  # by the number of a look that is out: the trial that earned it
        self._first: list[int] = []  # the trials that the inner search began with
        self._inner: Inner | None = None

    def propose(self, number: int) -> Ask | None:
        """Return an errand, a look, a child of the last round or a trial of the inner search.

        None while the first round is out.
        """
        errand = self._made.errand(number)
        if errand is not None:
            return Ask(errand, split="errand")
        if self._is_due():
            ask = self._begin_round(number)
            if ask is not None:
                return ask
        found = self._child(number) or self._further(number)
        if found is not None or self._waits():
            return found
        return self._searched(number)

    def learn(self, told: Told) -> None:
        """Take in a look, a proposal or a result."""
        if told.split == "validation":
            self._take_result(told)
        elif told.number in self._gated:
            self._pass_or_settle(self._gated.pop(told.number), told)
        elif self._made.take(told):
            self._end_round()

    def spent(self) -> bool:
        """Whether no trial is left; where some rows come first, no row to pay for."""
        whole = self.context.max_trials * self.context.validation_rows
        return super().spent() if self._block.rows is None else whole <= self.book.rows_asked

    def extra_state(self) -> dict[str, Any]:
        """Return what came from outputs and notes, and the inner search."""
        return {
            "pools": self._pools.to_json(),
            "rounds": self._made.to_json(),
            "searches": self._searches,
            "promising": list(self._promising),
            "settled": list(self._settled),
            "gated": [list(one) for one in self._gated.items()],
            "first": list(self._first),
            "inner": None if self._inner is None else self._inner.state_dict(),
        }

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over what `extra_state` gave."""
        self._pools.load(extra["pools"])
        self._made.load(extra["rounds"])
        self._searches = extra["searches"]
        self._promising, self._settled = list(extra["promising"]), list(extra["settled"])
        self._gated = dict(extra["gated"])
        self._first, self._inner = list(extra["first"]), None
        if extra["inner"] is not None:
            first = [self.book.asks[number].candidate for number in self._first]
            self._inner = Inner(self._pools.space(), self.context, first, self._initial)
            self._inner.load_state_dict(extra["inner"])

    def _further(self, number: int) -> Ask | None:
        """Return a further look at the best of those who deserve one.

        Who is clearly ahead of the best one is looked at on all rows at once; anybody else before that on train rows.
        """
        if not self._promising:
            return None
        first = self._promising.pop(0)
        told = self.book.told[first]
        best = self.book.best
        clear = best is not None and self._block.is_clear(told, best)
        rows = None if clear else self._block.next_rows(told)
        if rows is None and not clear and (train := self._gate_rows(told)):
            self._gated[number] = first
            return Ask(told.candidate, split="train", rows=train, traced=True)
        return Ask(told.candidate, rows=rows)

    def _gate_rows(self, told: Told) -> tuple[int, ...]:
        """Return the train rows to look at: those on which the best one was seen, and this one was not."""
        best, looks = self.book.best, self._made.looks
        if best is None:
            return ()
        return tuple(sorted(looks.rows_of(best.candidate) - looks.rows_of(told.candidate)))

    def _pass_or_settle(self, number: int, look: Told) -> None:
        """Let a candidate pass to all rows if it is ahead of the best one on all rows that both have seen."""
        told, best = self.book.told[number], self.book.best
        self._made.looks.add(told.candidate, look)
        ahead = [] if best is None else self._block.ahead(told, best)
        train = [] if best is None else self._made.looks.differences(told.candidate, best.candidate)
        if sum(ahead) + self._block.sign * sum(train) > 0:
            self._promising.insert(0, number)
        else:
            self._settle(told)

    def _best(self) -> list[Candidate]:
        """Return the candidates that were scored, best first; the default before there is any."""
        found = ranked(self.book.scored.values(), self.context)
        if self._block.rows is not None:
            found.sort(key=self._worth, reverse=True)
        return [told.candidate for told in found] or [self.space.default()]

    def _worth(self, told: Told) -> tuple[float, float]:
        """Return how good a candidate is within the bounds, by all validation and train rows on which it was seen.

        It is drawn towards the mean of all, as if that had been seen on some rows more: a lucky few do not make a best.
        """
        scores = [*self._block.gains(told), *self._made.looks.gains(told.candidate, self._block.sign)]
        worth = (sum(scores) + _PRIOR_ROWS * self._block.middle(self.book.scored.values())) / (
            len(scores) + _PRIOR_ROWS
        )
        return -violation(told.measures, self.context.bounds), worth

    def _is_due(self) -> bool:
        """Return whether a round is to begin: the first at once, any further one when all of the last was told."""
        busy = self.book.pending or self._made.children or self._promising or self._searches < self._every
        return self._may_begin() and not (self._made.begun and busy)

    def _waits(self) -> bool:
        """Return whether the round under way or the next one is to be awaited, since enough was searched meanwhile."""
        if self._made.is_out:
            return self._made.begun == 1 or self._searches >= self._every
        return self._searches >= self._every and self._may_begin() and bool(self.book.pending)

    def _may_begin(self) -> bool:
        return self._made.fruitful and (self._rounds is None or self._made.begun < self._rounds)

    def _begin_round(self, number: int) -> Ask | None:
        """Begin a round: a look, or an errand at once where enough was seen."""
        look = self._made.begin(number, self._best())
        self._searches = 0
        if look is not None:
            teacher = self._sketch.has_teacher and self._made.begun == 1  # later it is its own failures that matter
            return Ask(look[0], split="train", rows=look[1], traced=True, teacher=teacher)
        errand = self._made.errand(number)
        return None if errand is None else Ask(errand, split="errand")

    def _child(self, number: int) -> Ask | None:
        """Return a trial of what the last round has found."""
        while self._made.children:
            values = self._made.children.pop(0)
            candidate = self.space.repair(values, seeded(self.context.seed, self.name, "child", number))
            if candidate is not None and candidate.key not in self.book.seen:
                if self._inner is not None:
                    self._inner.take(candidate)
                return Ask(candidate, rows=self._block.rows)
        return None

    def _searched(self, number: int) -> Ask | None:
        """Return a trial of the inner search; where it has none left, a look, and at last any candidate."""
        before = self._first, self._inner
        inner = self._inner or self._begun()
        trials = self.book.trials
        ask = self._broad(number, inner) if trials % (_BROAD if trials < _YOUNG else _BROAD_LATER) == 0 else None
        ask = ask or inner.ask()
        if ask is None and not self._made.is_out:
            ask = self._begin_round(number) if self._may_begin() else None
            ask = ask or self.unseen(self._any_of(number))
        if ask is None:
            self._first, self._inner = before
        elif ask.split == "validation":
            self._searches += 1
        return ask if ask is None or ask.split != "validation" else replace(ask, rows=self._block.rows)

    def _broad(self, number: int, inner: Inner) -> Ask | None:
        """Return a trial of the texts and sets that were tried least, with all other variables drawn.

        A model of few results clings to where they are good; what is good only together is found by such trials.
        """
        space, rng = self._pools.space(), seeded(self.context.seed, self.name, "broad", number)
        drawn = space.sample(rng).values
        asked = [ask.candidate for ask in self.book.asks if ask.split == "validation"]
        candidate = space.repair({**drawn, **self._pools.least_tried(asked, rng)}, rng)
        return None if candidate is None else inner.take(candidate)

    def _begun(self) -> Inner:
        """Begin the inner search with all that was asked, as far as it lies in what is chosen from at present."""
        self._pools.choose(self._best())
        space = self._pools.space()
        first: dict[str, int] = {}
        for number, ask in enumerate(self.book.asks):
            if ask.split == "validation" and fits(space, ask.candidate):
                first.setdefault(ask.candidate.key, number)
        self._first = list(first.values())
        candidates = [self.book.asks[number].candidate for number in self._first]
        self._inner = Inner(space, self.context, candidates, self._initial)
        for number in self._settled:
            self._inner.tell(self.book.told[number])
        return self._inner

    def _any_of(self, number: int) -> Callable[[int], Candidate]:
        return lambda attempt: self.space.sample(seeded(self.context.seed, self.name, number, attempt))

    def _take_result(self, told: Told) -> None:
        if not self._block.promises(told, self.book.scored.values()):
            self._settle(told)
            return
        waiting = [self.book.told[number] for number in self._promising]
        self._promising = []
        for one in ranked([*waiting, told], self.context):
            if self._block.promises(one, self.book.scored.values()):
                self._promising.append(one.number)
            else:
                self._settle(one)

    def _settle(self, told: Told) -> None:
        """Tell the inner search of a candidate that no longer look follows."""
        self._settled.append(told.number)
        if self._inner is not None:
            self._inner.tell(told)

    def _end_round(self) -> None:
        """Begin the inner search anew with what a round has found."""
        self._made.end()
        if self._made.fruitful:
            self._first, self._inner = [], None
