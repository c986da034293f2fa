"""BootstrapFewShot with random search, for whole programs (Khattab et al. 2023, arXiv:2310.03714).

| trials, in this order        | what they are                                                                       |
|------------------------------|-------------------------------------------------------------------------------------|
| the opening                  | the default and the early candidates                                                |
| labelled sets                | train rows as they are, for the predictors whose fields are those of the whole      |
| a look                       | the best candidate so far, with the teacher's model, on some train rows, traced     |
| sets                         | all predictors at once: the first bootstrapped demonstrations, then random sets     |
| further looks, between sets  | at rows that gave nothing yet, while a predictor has too few: with the program's    |
|                              | other models as teachers, and with a better candidate once there is one; without    |
|                              | the teacher where it solved none of those it was asked last                         |

All but the looks are scored on the validation rows, which alone decide: what a bad teacher wrote does no harm.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives import SCORE
from dspex_coordination.objectives.comparison import violation
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import distinct, seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.variables.one_of import OneOf
from dspex_ray.program_optimizers.bootstrapped import MOST_CHARS, Bootstrapped, Harvest, Steps, harvested
from dspex_ray.program_optimizers.demo_shelf import demo_shelves
from dspex_ray.program_optimizers.sketch import ProgramSketch

_log = logging.getLogger(__name__)
_ON_PLAN = 100  # attempts at a new set of demonstrations before any candidate of the space will do
_PERFECT = 1.0  # what no metric of right and wrong exceeds
_ENOUGH = 2  # times the most that are shown at once: enough to choose from


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShotSettings:
    """How demonstrations are made and shown; `bootstrapped` and `labelled` are the most of each shown at once.

    A train row gives some if it scores at least `threshold`; a look is at up to `rows` of them, and there are at most
    `looks`. `teacher` holds values that replace the best candidate's when it teaches, such as a stronger `model`.
    Raises OptimizerError for a number that cannot be.
    """

    threshold: float = 1.0
    bootstrapped: int = 4
    labelled: int = 16
    rows: int = 32
    looks: int = 4
    steps: Steps = "last"
    most_chars: int = MOST_CHARS
    teacher: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.threshold, bool) or not math.isfinite(self.threshold):
            raise OptimizerError(f"threshold must be a finite score, got {self.threshold!r}.")
        least = {"bootstrapped": 0, "labelled": 0, "rows": 1, "looks": 0, "most_chars": 1}
        given = {name: (getattr(self, name), low) for name, low in least.items()}
        wrong = [f"{name} must be at least {low}, got {value!r}" for name, (value, low) in given.items() if value < low]
        if self.steps not in ("last", "all"):
            wrong.append(f"steps is 'last' or 'all', got {self.steps!r}")
        if wrong:
            raise OptimizerError(f"{'; '.join(wrong)}.")


class BootstrapFewShot(SearchOptimizer):
    """Search for the demonstrations of all predictors; what else the space holds stays as in the best candidate.

    It ends early when every validation row scores 1 and nothing but the score counts. `harvest` holds what was
    bootstrapped so far, with provenance. Raises OptimizerError from `start` for a program whose predictors show none.
    """

    name = "bootstrap_few_shot"

    def __init__(
        self, sketch: ProgramSketch, *, seed: int | None = None, max_trials: int | None = None, **settings: Any
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        self._sketch = sketch
        try:
            self.few_shot = FewShotSettings(**settings)
        except OptimizerError as error:
            raise OptimizerError(f"{self.name}: {error}") from error

    def prepare(self) -> None:
        """Find what can be shown. Raises OptimizerError if that is nothing, SpaceError for a teacher that cannot be."""
        context, settings = self.context, self.few_shot
        if len(self._sketch.rows) != context.train_rows:
            raise OptimizerError(
                f"{self.name} was made for {len(self._sketch.rows)} train rows, the search has {context.train_rows}."
            )
        self._shelves = demo_shelves(self._sketch, self.space, settings.most_chars)
        if not self._shelves:
            raise OptimizerError(
                f"{self.name} needs a predictor with a Demos variable, {self._sketch.name} has none. Declare one, such "
                "as `demos = dspex.Demos(max=16)`, or use an optimizer that writes instructions."
            )
        self.harvest: tuple[Bootstrapped, ...] = ()
        self._passed: set[int] = set()
        self._order = seeded(context.seed, self.name, "rows").sample(range(context.train_rows), context.train_rows)
        self._labelled = self._labelled_sets()
        self.space.complete(self._with(self.space.default(), settings.teacher or {}))  # raises for a wrong teacher
        self._emptied = (-1, -1)
        least = len(self.opening) + len(self._labelled) + 2
        if settings.looks and context.max_trials < least:
            _log.warning(
                "%s: %d trials leave none for what the program makes itself; %d are the least that do.",
                self.name,
                context.max_trials,
                least,
            )

    def propose(self, number: int) -> Ask | None:
        """Return the next set or look; None while a look is out, and once nothing can be won."""
        if self._won():
            return None
        labelled = next((one for one in self._labelled if one.key not in self.book.looks), None)
        if labelled is not None:
            return Ask(labelled)
        looks = self._looks()
        if any(trial in self.book.pending for trial in looks):
            return None
        look = self._next_look(looks)
        if look is not None and not looks and self.book.pending:
            return None  # those before the first look say who teaches
        return look or self._next_set(number)

    def learn(self, told: Told) -> None:
        """Take the demonstrations from a look."""
        if told.split != "train":
            return
        settings = self.few_shot
        found = harvested(
            self._sketch, told, threshold=settings.threshold, steps=settings.steps, most_chars=settings.most_chars
        )
        self._take(found.demos, found.passed)
        self._say(told, found)

    def _say(self, told: Told, found: Harvest) -> None:
        threshold, most_chars = self.few_shot.threshold, self.few_shot.most_chars
        if told.failed is not None:
            _log.warning("%s: no demonstration came of trial %d: %s", self.name, told.number, told.failed)
        elif told.notes and not found.demos:
            count, right = len(told.rows), len(found.passed)
            text = "%s: no demonstration came of the %d train rows of trial %d; %d of them reached the threshold %g."
            _log.warning(text, self.name, count, told.number, right, threshold)
        if found.too_long:
            text = "%s: left out %d demonstrations of more than %d characters."
            _log.warning(text, self.name, found.too_long, most_chars)

    def extra_state(self) -> dict[str, Any]:
        """Return what was bootstrapped: the book keeps no traces."""
        return {"harvest": [one.to_json() for one in self.harvest], "passed": sorted(self._passed)}

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over what was bootstrapped."""
        self._passed = set()
        self._take(tuple(map(Bootstrapped.from_json, extra["harvest"])), extra["passed"])

    def _take(self, demos: tuple[Bootstrapped, ...], passed: Sequence[int]) -> None:
        self.harvest += demos
        self._passed.update(passed)
        for shelf in self._shelves:
            shelf.add(demos)

    def _won(self) -> bool:
        best = self.book.best
        if best is None or self.context.objectives != (SCORE,) or len(best.rows) < self.context.validation_rows:
            return False
        return all(one == _PERFECT for one in best.scores) and not violation(best.measures, self.context.bounds)

    def _base(self) -> Candidate:
        return self.space.default() if self.book.best is None else self.book.best.candidate

    def _with(self, base: Candidate, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: base.values[name] for name in self.space.free}, **changes}

    def _labelled_sets(self) -> tuple[Candidate, ...]:
        """Return one drawn set for all predictors, and one of the nearest for each question."""
        most, base = self.few_shot.labelled, self.space.default()
        rng = seeded(self.context.seed, self.name, "labelled")
        drawn = {shelf.name: shelf.labels(most, rng) for shelf in self._shelves}
        nearest = {shelf.name: shelf.nearest(most) for shelf in self._shelves}
        sets = [{name: value for name, value in one.items() if value is not None} for one in (drawn, nearest)]
        made_of = [self.space.repair(self._with(base, one), rng) for one in sets if one]
        distinct_ones = {one.key: one for one in made_of if one is not None}
        return tuple(distinct_ones.values())

    def _looks(self) -> dict[int, Ask]:
        return {number: ask for number, ask in enumerate(self.book.asks) if ask.split == "train"}

    def _next_look(self, looks: Mapping[int, Ask]) -> Ask | None:
        settings = self.few_shot
        enough = all(shelf.rows >= _ENOUGH * min(settings.bootstrapped, shelf.variable.max) for shelf in self._shelves)
        if enough or len(looks) >= settings.looks:
            return None
        for candidate, teacher in self._teachers(looks):
            asked = [ask for ask in looks.values() if ask.teacher == teacher]
            before = [ask.rows or () for ask in asked if teacher or ask.candidate.key == candidate.key]
            if before and self._passed.isdisjoint(before[-1]):
                continue  # it solved none of those it was asked last
            known = self._passed.union(*before)
            rows = [row for row in self._order if row not in known][: settings.rows]
            if rows:
                return Ask(candidate, "train", tuple(sorted(rows)), traced=True, teacher=teacher)
        return None

    def _teachers(self, looks: Mapping[int, Ask]) -> Iterator[tuple[Candidate, bool]]:
        """Yield the best candidate with the teacher's values, and whether the teacher's model answers.

        Where it taught by itself before, that with the program's other models comes first.
        """
        base = self._with(self._base(), self.few_shot.teacher or {})
        own = self.space.complete(base)
        if self._sketch.has_teacher:
            yield own, True
        if any(ask.candidate.key == own.key and not ask.teacher for ask in looks.values()):
            models = {
                name: one
                for name, one in self.space.variables.items()
                if isinstance(one, OneOf) and name.rpartition(".")[2] == "model" and name in self.space.free
            }
            # an ordered choice is declared from the weakest to the strongest
            for option in reversed(list(dict.fromkeys(str(o) for one in models.values() for o in one.options))):
                values = {**base, **{name: option for name, one in models.items() if option in one.options}}
                if self.space.feasible(values):
                    yield self.space.complete(values), False
        yield own, False

    def _next_set(self, number: int) -> Ask | None:
        """Return a set that was not asked before, or else any such candidate; None if there is none."""
        now = (self.book.asked, len(self.book.told))
        if now == self._emptied:
            return None  # the space was listed already
        most = self.few_shot.bootstrapped
        first = self._candidate({shelf.name: shelf.first(most) for shelf in self._shelves})
        if first is not None and first.key not in self.book.looks:
            return Ask(first)
        listable = {ask.candidate.key for ask in self.book.asks if ask.split == "validation" and not _is_given(ask)}
        found = distinct(self.space, listable, lambda attempt: self._draw(number, attempt))
        if found is None:
            self._emptied = now
        return None if found is None else Ask(found)

    def _draw(self, number: int, attempt: int) -> Candidate | None:
        settings, rng = self.few_shot, seeded(self.context.seed, self.name, number, attempt)
        if attempt >= _ON_PLAN:
            return self.space.sample(rng)
        drawn = self._candidate(
            {shelf.name: shelf.drawn(settings.bootstrapped, settings.labelled, rng) for shelf in self._shelves}
        )
        return None if drawn is None or drawn.key in self.book.looks else drawn

    def _candidate(self, shown: Mapping[str, dict[str, Any] | None]) -> Candidate | None:
        """Return the best candidate with these demonstrations; a predictor without any keeps its own."""
        base, changes = self._base(), {name: value for name, value in shown.items() if value is not None}
        if not changes:
            return None
        return self.space.repair(self._with(base, changes), seeded(self.context.seed, self.name, base.key))


def _is_given(ask: Ask) -> bool:
    return any(isinstance(one, Mapping) and one.get("select") == "given" for one in ask.candidate.values.values())
