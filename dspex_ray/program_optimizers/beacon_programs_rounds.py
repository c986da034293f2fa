"""`Rounds`: a look at how a candidate does, proposals of a model that build on it, and what is to be tried of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import SearchContext, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.space import Space
from dspex_coordination.variables import Demos, Text
from dspex_ray.program_optimizers.beacon_programs_looks import Looks
from dspex_ray.program_optimizers.beacon_programs_pools import Pools, hard_sets
from dspex_ray.program_optimizers.bootstrapped import showing
from dspex_ray.program_optimizers.proposals import MOST_CHARS, accepted_instruction, proposal_errands
from dspex_ray.program_optimizers.proposals_evidence import secret_names
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

_LOOK_ROWS = 24  # train rows of the first traced look
_MOST_ROWS = 48  # of any further one
_PARENTS = 3  # of the best candidates, one of which a round improves
_IN_A_ROW = 2  # rounds that build on one candidate before it is another's turn
_OTHERS = 2  # further instructions that did well, which a proposal may learn from


class Rounds:
    """Round after round: `begin` says at which rows to look, or queues errands; `take` is told what became of them.

    What a round has found goes into the pools at its end; `children` are then to be tried: the parent with each new
    text or set in the place of its own, and with new texts for all its calls at once. `begun` counts the rounds;
    `fruitful` says whether the last one found anything.
    """

    def __init__(
        self, sketch: ProgramSketch, space: Space, context: SearchContext, pools: Pools, settings: tuple[int, float]
    ) -> None:
        """Begin with nothing seen; `settings`: the number of proposals, and the score that makes a demonstration."""
        self._sketch, self._space, self._context, self._pools = sketch, space, context, pools
        self._proposals, threshold = settings
        self.looks = Looks(sketch, threshold)
        self.begun, self.fruitful = 0, True
        self._parent = space.default()
        self._tried: dict[str, int] = {}  # by candidate: how many rounds built on it
        self._others: dict[str, list[str]] = {}  # by instruction: what else did well, best first
        self._look: int | None = None  # the number of the look that is out
        self._queue: list[dict[str, Any]] = []  # errands to be asked: `errand`, and `for` which proposal
        self._asked_for: dict[int, list[Any]] = {}  # by the number of an errand that is out: instruction and position
        self._found: list[list[Any]] = []  # a variable's name, the position of the proposal, and a value
        self.children: list[dict[str, Any]] = []

    @property
    def is_out(self) -> bool:
        """Whether a round is under way."""
        return bool(self._look is not None or self._queue or self._asked_for)

    def parent_among(self, best: Sequence[Candidate]) -> Candidate | None:
        """Return the best candidate that can be learnt from; None if none can, or nothing would change."""
        if self.is_out or not 0 < self._context.train_rows == len(self._sketch.rows):
            return None
        if not (self._told_openly() or self._shown_openly()):
            return None
        able = [one for one in best[:_PARENTS] if self.look_rows(one) or self._can_improve(one)]
        return min(able, key=lambda one: self._tried.get(one.key, 0) // _IN_A_ROW, default=None)

    def begin(self, number: int, best: Sequence[Candidate]) -> tuple[Candidate, tuple[int, ...]] | None:
        """Begin a round with one of the best; return whom to look at and where, None where enough was seen."""
        parent = self.parent_among(best)
        if parent is None:
            return None
        self._parent, self.begun = parent, self.begun + 1
        self._tried[parent.key] = self._tried.get(parent.key, 0) + 1
        for one in self._told_openly():
            name = one.instruction_name
            texts = dict.fromkeys(str(other.values[name]) for other in best)
            self._others[name] = [text for text in texts if text != parent.values[name]][:_OTHERS]
        rows = self.look_rows(parent)
        if not rows:
            self._ask_for_texts()
            return None
        self._look = number
        return parent, rows

    def look_rows(self, candidate: Candidate) -> tuple[int, ...]:
        """Return the train rows at which to look next at a candidate; the same ones come first for all."""
        total = self._context.train_rows if len(self._sketch.rows) == self._context.train_rows else 0
        order = seeded(self._context.seed, "beacon_programs", "look").sample(range(total), total)
        seen = self.looks.rows_of(candidate)
        most = _LOOK_ROWS if self.begun <= 1 else _MOST_ROWS
        first = order[:most]
        rows = [row for row in first if row not in seen] or [row for row in order if row not in seen][:_LOOK_ROWS]
        return tuple(sorted(rows))

    def errand(self, number: int) -> Candidate | None:
        """Return the next errand; None if there is none."""
        if not self._queue:
            return None
        made = self._queue.pop(0)
        self._asked_for[number] = made["for"]
        return Candidate(made["errand"])

    def take(self, told: Told) -> bool:
        """Take what became of a look or an errand; return whether the round ended with it."""
        if told.number == self._look:
            self._look = None
            self.looks.add(self._parent, told)
            self._ask_for_texts()
        elif told.number in self._asked_for:
            name, position = self._asked_for.pop(told.number)
            self._take_proposal(name, position, told)
        else:
            return False
        return not self.is_out

    def end(self) -> None:
        """Put what was found into the pools, and say what is to be tried."""
        for one in self._shown_openly():
            name, variable = str(one.demos_name), self._space.variables[str(one.demos_name)]
            if isinstance(variable, Demos):
                ids = [self._sketch.rows[row].id for row in self.looks.hardest(self._rng("hard"))]
                made = self.looks.demos(one.place, self._rng("demos"))
                sets = hard_sets(variable, made, ids, one.most_demos, f"{self._context.seed}:{self.begun}:{one.place}")
                self._found += [[name, None, value] for value in sets]
        new = [one for one in self._found if self._pools.add(one[0], [one[2]])]
        self.children = self._all_at_once() if self.begun == 1 else self._in_place(new)
        self._found, self.fruitful = [], bool(new)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "looks": self.looks.to_json(),
            "begun": self.begun,
            "fruitful": self.fruitful,
            "parent": self._parent.to_json(),
            "tried": dict(self._tried),
            "others": {name: list(texts) for name, texts in self._others.items()},
            "look": self._look,
            "queue": list(self._queue),
            "asked_for": [[number, list(one)] for number, one in self._asked_for.items()],
            "found": [list(one) for one in self._found],
            "children": list(self.children),
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_json` gave."""
        self.looks.load(data["looks"])
        self.begun, self.fruitful, self._look = data["begun"], data["fruitful"], data["look"]
        self._parent = Candidate(data["parent"])
        self._tried = dict(data["tried"])
        self._others = {name: list(texts) for name, texts in data["others"].items()}
        self._queue = list(data["queue"])
        self._asked_for = {number: list(one) for number, one in data["asked_for"]}
        self._found = [list(one) for one in data["found"]]
        self.children = list(data["children"])

    def _all_at_once(self) -> list[dict[str, Any]]:
        """Return candidates that hold each value of the pools at least once; all else is drawn.

        With the parent's numbers the model of the numbers would begin with one of each, and cling to it.
        """
        rng = self._rng("first")
        drawn = {name: rng.sample(list(held)[1:], len(held) - 1) for name, held in self._pools.items() if len(held) > 1}
        most = max(map(len, drawn.values()), default=0)
        return [
            {
                **self._space.sample(rng).values,
                **{name: held[position % len(held)] for name, held in drawn.items()},
            }
            for position in range(most)
        ]

    def _in_place(self, new: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
        """Return the parent with each new set in the place of its own, and with the texts of one position."""
        together: dict[Any, dict[str, Any]] = {}
        for name, position, value in new:
            together.setdefault((name, str(value)) if position is None else position, {})[name] = value
        return [{**self._parent.values, **values} for values in together.values()]

    def _can_improve(self, candidate: Candidate) -> bool:
        return bool(self._told_openly()) and self.looks.has_failures(candidate)

    def _told_openly(self) -> list[Predictor]:
        """Return the predictors that can be told something else than what is in a pool of theirs."""
        calls = self._sketch.predictors if self._proposals else ()
        return [
            one
            for one in calls
            if isinstance(self._space.variables.get(one.instruction_name), Text)
            and self._pools.values(one.instruction_name)
        ]

    def _shown_openly(self) -> list[Predictor]:
        """Return the predictors that can show demonstrations; none of a candidate that holds what is secret."""
        secret = secret_names(self._sketch)
        calls = [one for one in showing(self._sketch) if self._pools.values(str(one.demos_name))]
        return [one for one in calls if not any(each.name in secret for each in one.inputs)]

    def _ask_for_texts(self) -> None:
        """Queue the errands; of a program with several calls half of the proposals are for all of them at once."""
        calls = self._told_openly()
        for place, one in enumerate(calls):
            errands = proposal_errands(
                self._sketch,
                one,
                present=str(self._parent.values[one.instruction_name]),
                attempts=self.looks.attempts(self._parent, one.place),
                others=self._others.get(one.instruction_name, ()),
                count=self._proposals,
                seed=f"{self._context.seed}:{self.begun}",
                most_chars=self._most_chars(one.instruction_name),
            )
            for position, errand in enumerate(errands):
                if position % 2 == 0 or (position // 2 + self.begun) % len(calls) == place:
                    self._queue.append({"for": [one.instruction_name, position], "errand": errand})

    def _take_proposal(self, name: str, position: int, told: Told) -> None:
        known = [*self._pools.values(name), *(value for other, _, value in self._found if other == name)]
        output = told.outputs[0] if told.outputs and told.failed is None else None
        text = accepted_instruction(output, self._sketch, known, self._most_chars(name))
        if text is not None:
            self._found.append([name, position, text])

    def _most_chars(self, name: str) -> int:
        variable = self._space.variables[name]
        bound = variable.max_chars if isinstance(variable, Text) else None
        return MOST_CHARS if bound is None else min(bound, MOST_CHARS)

    def _rng(self, *of: Any) -> Any:
        return seeded(self._context.seed, "beacon_programs", self.begun, *of)
