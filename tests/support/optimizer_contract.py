"""The contract of `optimizers/base.py` as tests: subclass `OptimizerContract` as `Test...`, set `name`, and run."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import random_spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dspex_coordination import Bool, Candidate, Choice, Demos, Float, Int, OptimizerError, Space
from dspex_coordination.conditions import V
from dspex_coordination.objectives import COST, SCORE, Bound, Objective
from dspex_coordination.objectives.comparison import best_of
from dspex_coordination.optimizers import Ask, Optimizer, SearchContext, Told, make_optimizer

SPACES: dict[str, Space] = {
    "numbers": Space({"x": Float(0, 1), "y": Float(1e-3, 10, log=True, default=0.1), "n": Int(1, 50)}),
    "mixed": Space({"x": Float(-5, 5), "model": Choice(["small", "middle", "large"]), "terse": Bool(), "n": Int(0, 9)}),
    "demos": Space({"demos": Demos(max=4), "temperature": Float(0, 1)}),
    "tied": Space(
        {
            "provider": Choice(["north", "south"]),
            "window": Choice([4, 8, 16], ordered=True),
            "tokens": Int(1, 16, default=2),
            "thinks": Bool(),
            "depth": Int(1, 9, when=V("thinks") == True),  # noqa: E712 - a condition, not a comparison
            "heat": Float(0, 2, default=0.7, when=V("provider") == "north"),
            "top": Float(0, 1, default=0.9),
        },
        [V("tokens") <= V("window"), V("heat") + V("top") <= 2.5],
    ),
    "few": Space({"model": Choice(["small", "large"]), "terse": Bool(), "n": Int(1, 3)}),
    "one": Space({"model": Choice(["small"])}),
}


def chance(*parts: Any) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def context_of(space: Space, *, trials: int = 12, seed: int = 3, rows: int = 8, **more: Any) -> SearchContext:
    ids, labels = tuple(f"e{i}" for i in range(9)), tuple("xyz"[i % 3] for i in range(9))
    return SearchContext(space, seed, trials, ids, labels, len(ids), rows, **more)


def answer(number: int, ask: Ask, context: SearchContext, failed: str | None = None) -> Told:
    """A result that depends on the candidate and the rows alone; every third train row is answered well."""
    rows = tuple(range(context.rows_of(ask.split))) if ask.rows is None else ask.rows
    if failed is not None:
        return Told(number, ask.candidate, ask.split, (), (), (), 0.0, failed)
    worth = chance(ask.candidate.key)
    scores = [float(row % 3 == 0) if ask.split == "train" else (worth + chance(row, worth)) / 2 for row in rows]
    measures = {"cost_usd": chance("cost", ask.candidate.key), "latency_s": chance("latency", ask.candidate.key)}
    return Told(number, ask.candidate, ask.split, rows, tuple(scores), ("out",) * len(rows), 0.5, None, measures)


@dataclass
class Course:
    """One search under way; `order` decides which pending trial is told next, `fails` which trials fail."""

    optimizer: Optimizer
    context: SearchContext
    workers: int = 1
    order: int = 0
    fails: Callable[[int], bool] = lambda _: False
    asks: list[Ask] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)

    def step(self) -> bool:
        """Ask as long as there is room, then tell one; False once all is done."""
        while len(self.pending) < self.workers:
            ask = self.optimizer.ask(len(self.pending))
            if ask is None:
                break
            self.pending.append(len(self.asks))
            self.asks.append(ask)
        if not self.pending:
            assert self.optimizer.done, "it gave None with nothing pending, yet it is not done"
            return False
        number = self.pending.pop(int(chance(self.order, len(self.told)) * len(self.pending)))
        failed = "boom" if self.fails(number) else None
        self.told.append(answer(number, self.asks[number], self.context, failed))
        self.optimizer.tell(self.told[-1])
        return True

    def run(self, steps: int = 10**6) -> Course:
        while steps and self.step():
            steps -= 1
        return self

    @property
    def own(self) -> list[Ask]:
        """The asks on validation rows."""
        return [ask for ask in self.asks if ask.split == "validation"]

    def best(self) -> Told | None:
        return best_of([told for told in self.told if told.split == "validation"], self.context)


class OptimizerContract:
    """What every optimizer owes its caller. A subclass names the optimizer and what it cannot search."""

    name: ClassVar[str]
    trials: ClassVar[int] = 12
    spaces: ClassVar[Sequence[str]] = tuple(SPACES)
    several: ClassVar[bool] = True  # whether it takes several objectives
    looks_again: ClassVar[bool] = False  # whether it asks for a candidate on some rows, then on more

    def make(self, context: SearchContext) -> Optimizer:
        return make_optimizer(self.name, seed=context.seed, max_trials=context.max_trials)

    def course(self, context: SearchContext, **more: Any) -> Course:
        optimizer = self.make(context)
        optimizer.start(context)
        return Course(optimizer, context, **more)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "space" in metafunc.fixturenames:
            metafunc.parametrize("space", [pytest.param(SPACES[name], id=name) for name in self.spaces])

    def context_for(self, space: Space, seed: int) -> SearchContext:
        """A search of a random space; one that the optimizer would refuse is changed until it can be searched."""
        return context_of(space, trials=self.trials, seed=seed)

    def any_space(self) -> Space:
        return SPACES[self.spaces[0]]

    def check_asks(self, course: Course) -> None:
        """Nothing outside the space, nothing twice, and no more than was allowed; errands are no trials."""
        context, looked = course.context, dict[str, set[int]]()
        bound = context.space.bind(context.train_ids, context.train_labels)
        spent = last = 0
        trials = [ask for ask in course.asks if ask.split != "errand"]
        for ask in trials:
            assert bound.validate(ask.candidate.values) == ask.candidate
            if ask.split == "train":
                spent += context.validation_rows if not self.looks_again else context.train_rows
                continue
            rows = set(range(context.validation_rows) if ask.rows is None else ask.rows)
            before = looked.setdefault(ask.candidate.key, set())
            assert self.looks_again or not before, f"{ask.candidate!r} was asked twice"
            assert before < rows, f"{ask.candidate!r} was asked for {sorted(rows)} after {sorted(before)}"
            spent, last = spent + len(rows - before), len(rows - before)
            looked[ask.candidate.key] = rows
        assert spent - last < context.max_trials * context.validation_rows
        if not self.looks_again:
            assert len(trials) <= context.max_trials

    def test_trial_0_is_the_default_on_all_validation_rows(self, space: Space) -> None:
        course = self.course(context_of(space, trials=self.trials))
        assert course.optimizer.ask(0) == Ask(space.default(), "validation", None)

    def test_early_candidates_come_next_each_once(self, space: Space) -> None:
        drawn = [space.bind(tuple(f"e{i}" for i in range(9))).sample(random.Random(i)) for i in range(3)]
        early = (drawn[0], space.default(), drawn[1], drawn[0], drawn[2])
        course = self.course(context_of(space, trials=self.trials, early=early))
        expected = list({one.key: one for one in (space.default(), *early)}.values())
        course.run()
        firsts = list({ask.candidate.key: ask.candidate for ask in course.own}.values())
        assert firsts[: len(expected)] == expected
        self.check_asks(course)

    def test_early_candidates_outside_the_space_are_refused(self) -> None:
        early = (Candidate({"nowhere": 1}),)
        with pytest.raises(OptimizerError, match="Early candidate 0"):
            self.course(context_of(self.any_space(), trials=self.trials, early=early))

    @pytest.mark.parametrize("workers", [1, 4, 16])
    def test_nothing_outside_the_space_is_asked_and_nothing_twice(self, space: Space, workers: int) -> None:
        course = self.course(context_of(space, trials=self.trials), workers=workers, order=workers).run()
        self.check_asks(course)
        assert course.optimizer.done
        assert course.optimizer.ask(0) is None

    @settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.differing_executors])
    @given(space=random_spaces.spaces(), seed=st.integers(0, 999), workers=st.integers(1, 9), order=st.integers(0, 99))
    def test_nothing_infeasible_is_asked_of_random_spaces(
        self, space: Space, seed: int, workers: int, order: int
    ) -> None:
        context = self.context_for(space, seed)
        course = self.course(context, workers=workers, order=order, fails=lambda number: number % 7 == 3).run()
        self.check_asks(course)
        count = context.space.bind(context.train_ids).count(context.max_trials)
        if count is not None and not self.looks_again:
            assert len({ask.candidate.key for ask in course.own}) == min(count, len(course.asks))
            assert course.optimizer.done

    def test_all_trials_are_used_unless_the_space_is_exhausted(self, space: Space) -> None:
        course = self.course(context_of(space, trials=self.trials), workers=3).run()
        count = space.bind(course.context.train_ids).cardinality
        seen = {ask.candidate.key for ask in course.own}
        assert len(course.asks) >= self.trials or len(seen) == count

    @pytest.mark.parametrize("workers", [1, 5])
    def test_a_finite_space_is_exhausted_exactly(self, workers: int) -> None:
        space = SPACES["demos" if self.spaces == ("demos",) else "few"]
        if self.spaces == ("demos",):
            space = Space({"demos": Demos(max=1), "terse": Bool()})
        course = self.course(context_of(space, trials=60), workers=workers).run()
        count = space.bind(course.context.train_ids).cardinality
        assert len({ask.candidate.key for ask in course.own}) == count
        assert course.optimizer.done
        self.check_asks(course)

    @pytest.mark.parametrize("workers", [1, 4])
    def test_best_follows_the_contract_whatever_the_order(self, space: Space, workers: int) -> None:
        course = self.course(context_of(space, trials=self.trials), workers=workers, order=7)
        while course.step():
            best, expected = course.optimizer.best(), course.best()
            assert (best and best.number) == (expected and expected.number)

    def test_the_same_seed_gives_the_same_search(self, space: Space) -> None:
        context = context_of(space, trials=self.trials)
        one, other = (self.course(context, workers=3, order=5).run() for _ in range(2))
        assert one.asks == other.asks
        assert one.optimizer.state_dict() == other.optimizer.state_dict()

    def test_a_search_of_more_trials_begins_the_same(self, space: Space) -> None:
        context = context_of(space, trials=self.trials)
        short = self.course(context, order=3).run()
        long = self.course(replace(context, max_trials=2 * self.trials), order=3).run()
        assert long.asks[: len(short.asks)] == short.asks

    @pytest.mark.parametrize("stop", [0, 1, 2, 5, 9])
    def test_a_state_that_went_through_json_goes_on_the_same(self, space: Space, stop: int) -> None:
        context = context_of(space, trials=self.trials)
        course = self.course(context, workers=3, order=stop, fails=lambda number: number % 5 == 4).run(stop)
        saved = json.loads(json.dumps(course.optimizer.state_dict()))
        loaded = self.make(context)
        loaded.start(context)
        loaded.load_state_dict(saved)
        assert loaded.state_dict() == saved
        assert loaded.best() == course.optimizer.best()
        twin = replace(
            course, optimizer=loaded, asks=[*course.asks], told=[*course.told], pending=[*course.pending]
        ).run()
        assert twin.asks == course.run().asks
        assert loaded.state_dict() == course.optimizer.state_dict()

    def test_an_ask_that_gives_none_changes_nothing(self, space: Space) -> None:
        course = self.course(context_of(space, trials=self.trials), workers=10**6)
        while course.pending or not course.told:
            while (ask := course.optimizer.ask(len(course.pending))) is not None:
                course.pending.append(len(course.asks))
                course.asks.append(ask)
            before = course.optimizer.state_dict()
            assert course.optimizer.ask(len(course.pending)) is None
            assert course.optimizer.state_dict() == before
            number = course.pending.pop()
            course.told.append(answer(number, course.asks[number], course.context))
            course.optimizer.tell(course.told[-1])
        self.check_asks(course.run())

    @pytest.mark.parametrize("workers", [1, 4])
    def test_failed_trials_are_never_best_and_not_asked_again(self, space: Space, workers: int) -> None:
        context = context_of(space, trials=self.trials)
        some = self.course(context, workers=workers, fails=lambda number: number % 2 == 0).run()
        self.check_asks(some)
        best, expected = some.optimizer.best(), some.best()
        assert (best and best.number) == (expected and expected.number)
        failed = {told.candidate.key: told.number for told in some.told if told.failed and told.split == "validation"}
        assert not any(
            ask.candidate.key in failed and number > failed[ask.candidate.key]
            for number, ask in enumerate(some.asks)
            if ask.split == "validation"
        )
        every = self.course(context, workers=workers, fails=lambda _: True).run()
        assert every.optimizer.best() is None
        self.check_asks(every)

    def test_results_without_any_score_do_no_harm(self) -> None:
        course = self.course(context_of(self.any_space(), trials=self.trials))
        while (ask := course.optimizer.ask(0)) is not None:
            told = answer(len(course.asks), ask, course.context)
            course.asks.append(ask)
            course.optimizer.tell(replace(told, scores=(None,) * len(told.rows), measures={}))
        assert course.optimizer.done
        assert course.optimizer.best() is None

    def test_earlier_trials_inform_and_are_never_best(self, space: Space) -> None:
        past = self.course(context_of(space, trials=self.trials, seed=9)).run()
        strange = replace(past.told[0], candidate=Candidate({"nowhere": 1}))
        better = [replace(told, scores=tuple(2.0 for _ in told.scores)) for told in past.told]
        context = context_of(space, trials=self.trials, earlier=(*better, strange))
        course = self.course(context, workers=2)
        assert course.optimizer.best() is None
        course.run()
        self.check_asks(course)
        best, expected = course.optimizer.best(), course.best()
        assert best is not None
        assert expected is not None
        assert best.number == expected.number
        assert best.mean == expected.mean
        copy = self.course(context)
        copy.optimizer.load_state_dict(json.loads(json.dumps(course.optimizer.state_dict())))
        assert copy.optimizer.state_dict() == course.optimizer.state_dict()

    def test_what_breaks_a_bound_is_not_best(self, space: Space) -> None:
        bounds = (Bound("cost_usd", at_most=0.5),)
        course = self.course(context_of(space, trials=self.trials, bounds=bounds), workers=2).run()
        best, expected = course.optimizer.best(), course.best()
        assert best is not None
        assert expected is not None
        assert best.number == expected.number

    @pytest.mark.parametrize("workers", [1, 4])
    def test_several_objectives_are_searched_or_refused(self, space: Space, workers: int) -> None:
        context = context_of(space, trials=self.trials, objectives=(SCORE, COST))
        if not self.several:
            with pytest.raises(OptimizerError, match="objective"):
                self.course(context)
            return
        course = self.course(context, workers=workers).run()
        self.check_asks(course)
        best, expected = course.optimizer.best(), course.best()
        assert (best and best.number) == (expected and expected.number)

    def test_tells_that_cannot_be_are_refused_and_change_nothing(self) -> None:
        context = context_of(self.any_space(), trials=self.trials)
        course = self.course(context)
        ask = course.optimizer.ask(0)
        assert ask is not None
        told, before = answer(0, ask, context), course.optimizer.state_dict()
        with pytest.raises(OptimizerError, match="trial 5 was told but never asked"):
            course.optimizer.tell(replace(told, number=5))
        with pytest.raises(OptimizerError, match="never asked"):
            course.optimizer.tell(replace(told, number=-1))
        with pytest.raises(OptimizerError, match=r"trial 0 asked for .* but was told of"):
            course.optimizer.tell(replace(told, candidate=Candidate({"x": 1})))
        with pytest.raises(OptimizerError, match=r"did not ask for: \[99\]"):
            course.optimizer.tell(replace(told, rows=(*told.rows[1:], 99)))
        assert course.optimizer.state_dict() == before
        course.optimizer.tell(told)
        after = course.optimizer.state_dict()
        with pytest.raises(OptimizerError, match="trial 0 was told twice"):
            course.optimizer.tell(told)
        assert course.optimizer.state_dict() == after

    def test_results_without_the_measure_of_a_bound_are_refused(self) -> None:
        bounds = (Bound("cost_eur", at_most=1),)
        course = self.course(context_of(self.any_space(), trials=self.trials, bounds=bounds))
        ask = course.optimizer.ask(0)
        assert ask is not None
        before = course.optimizer.state_dict()
        with pytest.raises(OptimizerError, match="'cost_usd'"):
            course.optimizer.tell(answer(0, ask, course.context))
        assert course.optimizer.state_dict() == before

    def test_an_objective_that_results_do_not_have_is_refused(self) -> None:
        context = context_of(self.any_space(), trials=self.trials, objectives=(Objective("scores"),))

        def first() -> None:
            course = self.course(context)
            ask = course.optimizer.ask(0)
            assert ask is not None
            course.optimizer.tell(answer(0, ask, context))

        with pytest.raises(OptimizerError, match="'score'"):
            first()

    def test_one_made_for_another_search_is_refused(self) -> None:
        context = context_of(self.any_space(), seed=3, trials=self.trials)
        with pytest.raises(OptimizerError, match="made with seed=4 but the search has seed=3"):
            self.make(replace(context, seed=4)).start(context)
        with pytest.raises(OptimizerError, match=f"made with max_trials=7 but the search has max_trials={self.trials}"):
            self.make(replace(context, max_trials=7)).start(context)

    def test_calls_before_start_are_refused(self) -> None:
        context = context_of(self.any_space())
        told = answer(0, Ask(context.space.default()), context)
        calls: list[Callable[[Optimizer], object]] = [
            lambda one: one.ask(0),
            lambda one: one.done,
            lambda one: one.best(),
            lambda one: one.tell(told),
            lambda one: one.state_dict(),
        ]
        for call in calls:
            with pytest.raises(OptimizerError, match="start"):
                call(self.make(context))

    def test_the_state_of_another_optimizer_is_refused(self) -> None:
        course = self.course(context_of(self.any_space(), trials=self.trials))
        state = {**course.optimizer.state_dict(), "optimizer": "another"}
        with pytest.raises(OptimizerError, match=f"'another' cannot be loaded into '{self.name}'"):
            course.optimizer.load_state_dict(state)
