"""Genetic search over programs: instructions, demonstrations and all other variables are bred together.

Selection is that of NSGA-II, steady-state (see `dspex_coordination.optimizers.nsga2`), for one objective or several.
Instructions vary by a model, which is shown how one parent fails and what another is told (EvoPrompt, Guo et al. 2024,
arXiv:2309.08532; failures as evidence as in ProTeGi, Pryzant et al. 2023, arXiv:2305.03495). Nothing waits for a
generation, nor for a look at train rows or a text that is under way.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.nsga2 import NSGA2, Member
from dspex_coordination.variables import Text
from dspex_ray.program_optimizers.beacon_programs_block import Block
from dspex_ray.program_optimizers.bootstrapped import MOST_CHARS as MOST_DEMO_CHARS
from dspex_ray.program_optimizers.demo_shelf import DemoShelf, demo_shelves
from dspex_ray.program_optimizers.genetic_programs_evidence import Evidence, scores_ahead
from dspex_ray.program_optimizers.genetic_programs_genes import crossed, varied
from dspex_ray.program_optimizers.proposals import MOST_CHARS, accepted_instruction, proposal_errands
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

_LOOK_ROWS = 24  # train rows of one traced look at a parent
_PER_LOOK = 4  # texts written from one look, before the parent is looked at on further rows
_FRUITLESS = 20  # errands in a row without a new text, after which no more are sent
_FOUNDER_RATE = 0.5  # chance of a mutation for each variable of the first children
_LEAST_ROWS, _PART = 16, 8  # a first look is at an eighth of the validation rows, and no fewer than 16
_ANY_AFTER = 60  # attempts after which any candidate of the space will do


class GeneticPrograms(NSGA2):
    """Breed from the `population` best-placed programs.

    A child takes instruction and demonstrations of each model call from one of two parents, and the other variables as
    `NSGA2` crosses them; then some mutate. A part `written` of the children is told something new in one place instead:
    a model writes it, given rows on which the mother failed in a look at train rows, and what the father is told there.
    Rows of a look that score at least `threshold` become demonstrations to choose from.

    Where the score is the only objective some validation rows come first (`block` of them), and more only where a new
    best is likely. `max_trials` counts whole looks at the validation rows. Raises OptimizerError for settings that
    cannot be, and from `start` for a search without train rows.
    """

    name = "genetic_programs"

    def __init__(
        self,
        sketch: ProgramSketch,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        population: int = 8,
        written: float = 0.75,
        threshold: float = 1.0,
        block: int | None = None,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials, population=population)
        if not 0.0 <= written <= 1.0 or (block is not None and block < 1):
            raise OptimizerError(
                f"{self.name}: written must be from 0 to 1 and block at least 1, got {written} and {block}."
            )
        self._sketch, self._written, self._threshold, self._first_rows = sketch, written, threshold, block

    def prepare(self) -> None:
        """Begin with the results of earlier runs, and the labelled rows to show."""
        if not 0 < self.context.train_rows == len(self._sketch.rows):
            raise OptimizerError(f"{self.name} looks at train rows for how programs fail; this search has none.")
        size = max(_LEAST_ROWS, self.context.validation_rows // _PART)
        self._first = Block(self.context, self._first_rows or size).rows
        super().prepare()
        shelves = demo_shelves(self._sketch, self.space, MOST_DEMO_CHARS)
        self._shelves: dict[str, DemoShelf] = {shelf.name: shelf for shelf in shelves}
        self._open = [one for one in self._sketch.predictors if self._is_open(one.instruction_name)]
        free = {one.instruction_name for one in self._open}
        self._movable = frozenset(
            name for name in self.space.free if name not in free and self.space.variables[name].cardinality != 1
        )
        self._evidence = Evidence(self._sketch, self._threshold)
        self._asked_for: dict[int, list[Any]] = {}  # by the number of an errand that is out: a child, and which text
        self._children: list[dict[str, Any]] = []  # with a new text, to be scored
        self._promising: list[Candidate] = []  # to be looked at on all rows
        self._fruitless = 0

    def propose(self, number: int) -> Ask | None:
        """Return a further look at a promising child, a child that is ready, or begin another one."""
        if self._promising:
            return Ask(self._promising.pop(0))
        rng = seeded(self.context.seed, self.name, "way", number)
        ready = self._ready(number)
        if ready is None and rng.random() < self._written:
            ready = self._write(number, rng)
        if ready is not None:
            return ready
        ask = self.unseen(lambda attempt: self._next(number, attempt))
        return self._write(number, rng) if ask is None else replace(ask, rows=self._first)

    def learn(self, told: Told) -> None:
        """Take in a result, a look or a text."""
        if told.split == "train":
            self._evidence.add(told, self._shelves)
        elif told.split == "errand":
            self._take_text(told)
        elif told.mean is not None:
            if self._promises(told):
                self._promising.append(told.candidate)
            former = [one.source for one in self._members if self._told(one.source).candidate != told.candidate]
            self._settle([self._member(source, self._told(source)) for source in (*former, told.number)])

    def spent(self) -> bool:
        """Whether no row is left to pay for."""
        return self.context.max_trials * self.context.validation_rows <= self.book.rows_asked

    def extra_state(self) -> dict[str, Any]:
        """Return the population, and what came from outputs and notes."""
        return {
            **super().extra_state(),
            "evidence": self._evidence.to_json(),
            "shelves": {
                name: {of: list(demos) for of, demos in shelf.bootstrapped.items()}
                for name, shelf in self._shelves.items()
            },
            "asked_for": [[number, *one] for number, one in self._asked_for.items()],
            "children": list(self._children),
            "promising": [one.to_json() for one in self._promising],
            "fruitless": self._fruitless,
        }

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over what `extra_state` gave."""
        super().load_extra(extra)
        self._evidence.load(extra["evidence"])
        for name, shelf in self._shelves.items():
            shelf.bootstrapped = {of: list(demos) for of, demos in extra["shelves"][name].items()}
        self._asked_for = {number: list(one) for number, *one in extra["asked_for"]}
        self._children = list(extra["children"])
        self._promising = [Candidate(values) for values in extra["promising"]]
        self._fruitless = extra["fruitless"]

    def _told(self, source: int) -> Told:
        return self.book.told[source] if source >= 0 else self.book.earlier[-1 - source]

    def _member(self, source: int, told: Told) -> Member:
        """Place one that was seen on some rows only by how it did there against the default."""
        member, base = super()._member(source, told), self.book.told.get(0)
        if source < 0 or base is None or base.mean is None or not self._is_partial(told):
            return member
        ahead = scores_ahead(told, base)
        likely = told.mean if not ahead else base.mean + fmean(ahead)
        return replace(member, gains=(self.context.objectives[0].gain({"score": likely or 0.0}),))

    def _is_partial(self, told: Told) -> bool:
        return self._first is not None and len(told.rows) < self.context.validation_rows

    def _promises(self, told: Told) -> bool:
        """Say whether a look at some rows leaves it likely enough that one at all rows finds a new best."""
        best = self.book.best
        if not self._is_partial(told):
            return False
        if best is None or self._is_partial(best):
            return True
        sign = self.context.objectives[0].gain({"score": 1.0})
        ahead = [sign * one for one in scores_ahead(told, best)]
        margin = stdev(ahead) / math.sqrt(len(ahead)) if len(ahead) > 1 else 0.0
        return bool(ahead) and fmean(ahead) + margin > 0

    def _next(self, number: int, attempt: int) -> Candidate | None:
        rng = seeded(self.context.seed, self.name, number, attempt)
        if attempt >= _ANY_AFTER:
            return self.space.sample(rng)
        return self.space.repair(self._child(rng, attempt), rng)

    def _child(self, rng: random.Random, attempt: int) -> dict[str, Any]:
        mother, father = self._parents(rng)
        values = self._crossed_values(mother, father, rng)
        active = self._movable if mother is None else self._movable & mother.active
        genes = sorted(active) or sorted(self._movable)
        founds = len(self._members) < self._population
        chance = _FOUNDER_RATE if founds else (1.0 + attempt) / max(1, len(genes))
        chosen = [name for name in genes if rng.random() < chance]
        for name in chosen or ([rng.choice(genes)] if attempt and genes else []):
            values[name] = self._mutated(name, values[name], rng)
        return values

    def _parents(self, rng: random.Random) -> tuple[Member | None, Member | None]:
        """Return two members; the same one twice where there is no other, None before there is any."""
        if not self._members:
            return None, None
        mother = self._parent(rng, None)
        return mother, self._parent(rng, mother) if len(self._members) > 1 else mother

    def _crossed_values(self, mother: Member | None, father: Member | None, rng: random.Random) -> dict[str, Any]:
        if mother is None or father is None:
            default = self.space.default().values
            return {name: default[name] for name in self.space.free}
        if mother is father or rng.random() >= self._rate:
            return {name: mother.values[name] for name in self.space.free}
        values = {name: self._crossed(name, mother, father, rng) for name in self.space.free}
        return values | crossed(self._sketch, self.space, (mother.values, father.values), rng)

    def _mutated(self, name: str, value: Any, rng: random.Random) -> Any:
        shelf = self._shelves.get(name)
        return super()._mutated(name, value, rng) if shelf is None else varied(shelf, value, rng)

    def _is_open(self, name: str) -> bool:
        variable = self.space.variables.get(name)
        return isinstance(variable, Text) and variable.pool is None and name in self.space.free

    def _ready(self, number: int) -> Ask | None:
        for position, values in enumerate(self._children):
            candidate = self.space.repair(values, seeded(self.context.seed, self.name, "ready", number, position))
            if candidate is not None and candidate.key not in self.book.looks:
                del self._children[: position + 1]
                return Ask(candidate, rows=self._first)
        return None

    def _write(self, number: int, rng: random.Random) -> Ask | None:
        """Return an errand for a new text in a child of two parents, or a look at the mother that it needs first."""
        if not self._open or self._fruitless + len(self._asked_for) >= _FRUITLESS:
            return None
        mother, father = self._parents(rng)
        parent = self.space.default() if mother is None else self._told(mother.source).candidate
        if self._evidence.texts_of(parent) >= _PER_LOOK * self._evidence.looks_at(parent):
            unseen = self._evidence.unseen(parent, self.context.train_rows)
            if unseen:
                rows = tuple(sorted(rng.sample(unseen, min(_LOOK_ROWS, len(unseen)))))
                self._evidence.look(parent, rows)
                return Ask(parent, split="train", rows=rows, traced=True)
        if not self._evidence.seen(parent):
            return None  # its first look is out
        values = {name: parent.values[name] for name in self.space.free}
        other = None if father is None or father is mother else father.values
        one = rng.choice(self._open)
        (errand,) = self._errands(number, one, parent, () if other is None else (str(other[one.instruction_name]),))
        self._evidence.wrote(parent)
        self._asked_for[number] = [values, one.instruction_name]
        return Ask(Candidate(errand), split="errand")

    def _errands(self, number: int, one: Predictor, parent: Candidate, others: Sequence[str]) -> list[dict[str, Any]]:
        present = str(parent.values[one.instruction_name])
        return proposal_errands(
            self._sketch,
            one,
            present=present,
            attempts=self._evidence.attempts(parent, one.place),
            others=[text for text in others if text != present],
            count=1,
            seed=f"{self.context.seed}:{number}",
            most_chars=self._most_chars(one.instruction_name),
        )

    def _take_text(self, told: Told) -> None:
        if told.number not in self._asked_for:
            return
        values, name = self._asked_for.pop(told.number)
        known = {str(ask.candidate.values[name]) for ask in self.book.asks if ask.split != "errand"}
        known |= {str(child[name]) for child in self._children}
        output = told.outputs[0] if told.outputs and told.failed is None else None
        text = accepted_instruction(output, self._sketch, known, self._most_chars(name))
        self._fruitless = self._fruitless + 1 if text is None else 0
        if text is not None:
            self._children.append({**values, name: text})

    def _most_chars(self, name: str) -> int:
        variable = self.space.variables[name]
        bound = variable.max_chars if isinstance(variable, Text) else None
        return MOST_CHARS if bound is None else min(bound, MOST_CHARS)
