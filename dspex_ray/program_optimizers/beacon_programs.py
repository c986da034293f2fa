"""BEACON for programs: one Bayesian search over instructions, demonstrations and all variables of a program together.

What there is to choose from is made first: a traced look at train rows gives demonstrations (Khattab et al. 2023,
arXiv:2310.03714) and examples of success and failure, from which a model writes instructions (as in MIPROv2, Opsahl-Ong
et al. 2024, arXiv:2406.11695). Unlike there, the choice is made jointly with numbers, models and all else by
`dspex_coordination.optimizers.beacon`, and later rounds look at how the best candidate fails and add to the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.comparison import ranked
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.variables import Text
from dspex_ray.program_optimizers.beacon_programs_block import Block
from dspex_ray.program_optimizers.beacon_programs_inner import Inner
from dspex_ray.program_optimizers.beacon_programs_pools import Pools, fits, given_sets
from dspex_ray.program_optimizers.bootstrapped import harvested, showing
from dspex_ray.program_optimizers.proposals import MOST_CHARS, accepted_instruction, proposal_errands
from dspex_ray.program_optimizers.proposals_evidence import attempts_by_place, secret_names
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

_YOUNG, _BROAD, _BROAD_LATER = 30, 2, 4  # up to 30 trials every second is none of the model's, then every fourth
_LOOK_ROWS = 32  # train rows of one traced look
_EARLIER = 12  # of the trials of earlier runs, the best, whose texts and demonstrations are chosen from too


class BeaconPrograms(SearchOptimizer):
    """Joint search. `proposals` instructions are asked for each predictor and round, `rounds` rounds in all.

    The first round comes right after the opening; each further one after `every` more results, and it looks at how the
    best candidate of that time does. A look is one trial, on up to 32 train rows; a row that scores at least
    `threshold` gives demonstrations. The Bayesian search begins with `initial` trials that cover the space.

    Of 64 validation rows or more the same few (`block`) are looked at first, and the rest only where a new best is
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
        proposals: int = 5,
        rounds: int = 3,
        every: int = 10,
        initial: int = 8,
        threshold: float = 1.0,
        block: int | None = None,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        if min(proposals, rounds) < 0 or min(every, initial, block or 1) < 1:
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
        self._round = self._next_at = 0  # rounds begun; the results from which on the next one begins
        self._fruitful = True  # whether the last round added anything
        self._looked_at: dict[int, Candidate] = {}  # by the number of a look that is out
        self._queue: list[dict[str, Any]] = []  # errands to be asked: `errand`, and `for` which instruction
        self._asked_for: dict[int, str] = {}  # by the number of an errand that is out: for which instruction
        self._found: list[tuple[str, Any]] = []  # what the round that is out will add: a variable's name and a value
        self._scored: list[int] = []  # trials in the order in which they were told
        self._settled: list[int] = []  # those of them that no longer look follows
        self._promising: list[Candidate] = []  # to be looked at on all rows
        self._first: list[int] = []  # the trials that the inner search began with
        self._inner: Inner | None = None

    def propose(self, number: int) -> Ask | None:
        """Return a look, an errand, or a trial of the inner search; None while the first round is out."""
        if self._queue:
            made = self._queue.pop(0)
            self._asked_for[number] = made["for"]
            return Ask(Candidate(made["errand"]), split="errand")
        if self._promising:
            return Ask(self._promising.pop(0))
        if self._round < self._rounds and len(self._scored) >= self._next_at and self._can_look():
            return self._look(number)
        if self._round == 1 and self._is_out():
            return None
        return self._searched(number)

    def learn(self, told: Told) -> None:
        """Take in a look, a proposal or a result."""
        if told.split == "validation":
            self._take_result(told)
        elif told.number in self._looked_at:
            self._take_look(self._looked_at.pop(told.number), told)
        elif told.number in self._asked_for:
            self._take_proposal(self._asked_for.pop(told.number), told)

    def spent(self) -> bool:
        """Whether no trial is left; where some rows come first, no row to pay for."""
        whole = self.context.max_trials * self.context.validation_rows
        return super().spent() if self._block.rows is None else whole <= self.book.rows_asked

    def extra_state(self) -> dict[str, Any]:
        """Return what came from outputs and notes, and the inner search."""
        return {
            "pools": self._pools.to_json(),
            "round": [self._round, self._next_at, self._fruitful],
            "looked_at": [[number, one.to_json()] for number, one in self._looked_at.items()],
            "queue": list(self._queue),
            "asked_for": [[number, name] for number, name in self._asked_for.items()],
            "found": [[name, value] for name, value in self._found],
            "promising": [one.to_json() for one in self._promising],
            "first": list(self._first),
            "inner": None if self._inner is None else self._inner.state_dict(),
        }

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over what `extra_state` gave."""
        self._pools.load(extra["pools"])
        self._round, self._next_at, self._fruitful = extra["round"]
        self._looked_at = {number: Candidate(values) for number, values in extra["looked_at"]}
        self._queue = list(extra["queue"])
        self._asked_for = dict(extra["asked_for"])
        self._found = [(name, value) for name, value in extra["found"]]
        self._promising = [Candidate(values) for values in extra["promising"]]
        self._first, self._inner = list(extra["first"]), None
        if extra["inner"] is not None:
            first = [self.book.asks[number].candidate for number in self._first]
            self._inner = Inner(self._pools.space(), self.context, first, self._initial)
            self._inner.load_state_dict(extra["inner"])

    def _searched(self, number: int) -> Ask | None:
        """Return a trial of the inner search; where it has none left, a look, and at last any candidate."""
        before = self._first, self._inner
        inner = self._inner or self._begun()
        trials = self.book.trials
        ask = self._broad(number, inner) if trials % (_BROAD if trials < _YOUNG else _BROAD_LATER) == 0 else None
        ask = ask or inner.ask()
        if ask is None and not self._is_out():
            ask = self._look(number) if self._fruitful and self._can_look() else self.unseen(self._any_of(number))
        if ask is None:
            self._first, self._inner = before
        return ask if ask is None or ask.split == "train" else replace(ask, rows=self._block.rows)

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

    def _is_out(self) -> bool:
        """Whether a round is under way."""
        return bool(self._looked_at or self._queue or self._asked_for)

    def _can_look(self) -> bool:
        """Whether a round can begin: there are rows to look at and something to learn of them, and none is out."""
        if self._is_out() or not 0 < self.context.train_rows == len(self._sketch.rows):
            return False
        shows = any(self._pools.values(str(one.demos_name)) for one in showing(self._sketch))
        return shows or bool(self._told_openly())

    def _told_openly(self) -> list[Predictor]:
        """Return the predictors that can be told something else than what is in a pool of theirs."""
        calls = self._sketch.predictors if self._proposals else ()
        return [
            one
            for one in calls
            if isinstance(self.space.variables.get(one.instruction_name), Text)
            and self._pools.values(one.instruction_name)
        ]

    def _look(self, number: int) -> Ask:
        """Begin a round: look at how the best candidate does, at first the default."""
        best = self.book.best if self._round else None
        candidate = self.space.default() if best is None else best.candidate
        rng = seeded(self.context.seed, self.name, "look", self._round)
        rows = rng.sample(range(self.context.train_rows), min(_LOOK_ROWS, self.context.train_rows))
        self._round, self._next_at = self._round + 1, len(self._scored) + self._every
        self._looked_at[number] = candidate
        teacher = self._sketch.has_teacher and self._round == 1  # later it is its own failures that matter
        return Ask(candidate, split="train", rows=tuple(sorted(rows)), traced=True, teacher=teacher)

    def _take_result(self, told: Told) -> None:
        self._scored.append(told.number)
        if self._block.promises(told, self.book.best):
            self._promising.append(told.candidate)
            return
        self._settled.append(told.number)
        if self._inner is not None:
            self._inner.tell(told)

    def _take_look(self, candidate: Candidate, told: Told) -> None:
        seed = f"{self.context.seed}:{self._round}"
        made = harvested(self._sketch, told, threshold=self._threshold).demos
        secret = secret_names(self._sketch)
        for one in showing(self._sketch):
            if any(each.name in secret for each in one.inputs):
                continue  # what a candidate holds is written down
            demos = [each.demo for each in made if each.place == one.place]
            sets = given_sets(demos, one.most_demos, f"{seed}:{one.place}")
            self._found += [(str(one.demos_name), value) for value in sets]
        attempts = attempts_by_place(self._sketch, told)
        for one in self._told_openly():
            errands = proposal_errands(
                self._sketch,
                one,
                present=candidate.values[one.instruction_name],
                attempts=attempts.get(one.place, ()),
                count=self._proposals,
                seed=seed,
                most_chars=self._most_chars(one.instruction_name),
            )
            self._queue += [{"for": one.instruction_name, "errand": errand} for errand in errands]
        self._end_if_over()

    def _take_proposal(self, name: str, told: Told) -> None:
        known = [*self._pools.values(name), *(value for other, value in self._found if other == name)]
        output = told.outputs[0] if told.outputs and told.failed is None else None
        text = accepted_instruction(output, self._sketch, known, self._most_chars(name))
        if text is not None:
            self._found.append((name, text))
        self._end_if_over()

    def _most_chars(self, name: str) -> int:
        variable = self.space.variables[name]
        bound = variable.max_chars if isinstance(variable, Text) else None
        return MOST_CHARS if bound is None else min(bound, MOST_CHARS)

    def _end_if_over(self) -> None:
        """Add what the round has found, once nothing of it is out; the inner search begins anew with it."""
        if self._is_out():
            return
        added = sum(self._pools.add(name, [value]) for name, value in self._found)
        self._found, self._fruitful = [], added > 0
        if added:
            self._first, self._inner = [], None
