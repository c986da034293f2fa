"""What is special to halving and racing: candidates are looked at on some rows first."""

from __future__ import annotations

import itertools
import random
import statistics
from collections import Counter
from collections.abc import Callable

import pytest
from optimizer_contract import context_of

from dspex_coordination import (
    Candidate,
    Choice,
    Demos,
    Float,
    Objective,
    OptimizerError,
    SearchContext,
    Space,
    Told,
    UnknownOptimizerError,
    make_optimizer,
)
from dspex_coordination.optimizers import Ask, Genetic, Halving, Optimizer, Racing

LINE = Space({"x": Float(0, 1, default=0.1)})
ROWS = 40

Score = Callable[[Candidate, int], float]


def chance(candidate: Candidate) -> float:
    return 0.9 - 0.8 * abs(float(candidate.values["x"]) - 0.7)


def coin(candidate: Candidate, row: int) -> float:
    """1 or 0; candidates share how hard a row is."""
    hard = random.Random(f"row {row}").random()
    luck = random.Random(f"{candidate.key} {row}").random()
    return float((hard + luck) / 2 < chance(candidate))


def searched(
    optimizer: Optimizer, context: SearchContext, score: Score = coin, fails: Callable[[Candidate], bool] | None = None
) -> list[Ask]:
    optimizer.start(context)
    asks: list[Ask] = []
    while (ask := optimizer.ask(0)) is not None:
        rows = tuple(range(context.validation_rows)) if ask.rows is None else ask.rows
        failed = "boom" if fails is not None and asks and fails(ask.candidate) else None
        rows = () if failed else rows
        scores = tuple(score(ask.candidate, row) for row in rows)
        told = Told(len(asks), ask.candidate, ask.split, rows, scores, (None,) * len(rows), 0.0, failed)
        asks.append(ask)
        optimizer.tell(told)
    return asks


def looks(asks: list[Ask], rows: int = ROWS) -> dict[str, list[int]]:
    """By candidate on how many rows it was looked at, look by look."""
    counts: dict[str, list[int]] = {}
    for ask in asks:
        counts.setdefault(ask.candidate.key, []).append(rows if ask.rows is None else len(ask.rows))
    return counts


@pytest.mark.parametrize("name", ["halving", "racing", "halving:genetic", "racing:genetic"])
def test_more_candidates_are_seen_at_the_same_price_and_a_better_one_is_found(name: str) -> None:
    ours, theirs = [], []
    for seed in range(9):
        context = context_of(LINE, trials=10, seed=seed, rows=ROWS)
        for side, found in ((name, ours), ("random", theirs)):
            optimizer = make_optimizer(side, seed=seed, max_trials=10)
            asks = searched(optimizer, context)
            best = optimizer.best()
            assert best is not None
            assert len(best.rows) == ROWS
            found.append(chance(best.candidate))
            assert side == "random" or len(looks(asks)) > 12
    assert statistics.fmean(ours) > statistics.fmean(theirs)


def test_halving_promotes_about_a_third_of_each_rung() -> None:
    asks = searched(Halving(), context_of(LINE, trials=40, rows=ROWS))
    sizes = Counter(size for counts in looks(asks).values() for size in counts)
    assert sorted(sizes) == [2, 5, 14, 40]
    for fewer, more in ((2, 5), (5, 14)):
        assert 0.3 < sizes[more] / sizes[fewer] < 0.45  # who is no longer among the best third stays promoted


@pytest.mark.parametrize("name", ["halving", "racing"])
def test_all_candidates_are_looked_at_on_the_same_rows_first_and_then_on_more(name: str) -> None:
    asks = searched(make_optimizer(name, seed=3, max_trials=12), context_of(LINE, rows=ROWS))
    by_size: dict[int, set[tuple[int, ...]]] = {}
    for ask in asks:
        rows = tuple(range(ROWS)) if ask.rows is None else ask.rows
        by_size.setdefault(len(rows), set()).add(rows)
    assert all(len(same) == 1 for same in by_size.values())
    nested = [set(next(iter(by_size[size]))) for size in sorted(by_size)]
    assert all(small < large for small, large in itertools.pairwise(nested))


def test_racing_drops_who_cannot_win_even_with_a_perfect_rest() -> None:
    def all_or_nothing(candidate: Candidate, row: int) -> float:
        return 1.0 if candidate == LINE.default() else float(row % 2)

    asks = searched(Racing(block=10), context_of(LINE, trials=4, rows=ROWS), all_or_nothing)
    assert all(counts == [10] for counts in list(looks(asks).values())[1:])


def test_racing_keeps_equals_in_the_race() -> None:
    asks = searched(Racing(block=10, width=2), context_of(LINE, trials=4, rows=ROWS), lambda _, row: float(row % 2))
    finished = [counts for counts in looks(asks).values() if counts[-1] == ROWS]
    assert len(finished) >= 3


def test_a_failed_look_ends_a_candidates_race() -> None:
    for optimizer in (Halving(), Racing()):
        asks = searched(optimizer, context_of(LINE, trials=6, rows=ROWS), fails=lambda one: one.values["x"] > 0.5)
        failed = [counts for key, counts in looks(asks).items() if _x(asks, key) > 0.5]
        assert failed
        assert all(len(counts) == 1 for counts in failed)


def _x(asks: list[Ask], key: str) -> float:
    return float(next(ask.candidate.values["x"] for ask in asks if ask.candidate.key == key))


def test_a_train_trial_of_the_inner_optimizer_is_passed_through() -> None:
    space = Space({"demos": Demos(max=4), "x": Float(0, 1)})
    asks = searched(make_optimizer("racing:bootstrap", seed=3, max_trials=12), context_of(space, rows=ROWS))
    train = [ask for ask in asks if ask.split == "train"]
    assert [ask.candidate for ask in train] == [space.default()]


def test_the_inner_optimizer_hears_of_every_candidate_that_left() -> None:
    heard: list[Told] = []

    class Listening(Genetic):
        def learn(self, told: Told) -> None:
            heard.append(told)
            super().learn(told)

    optimizer = Racing(inner=Listening)
    asks = searched(optimizer, context_of(LINE, trials=10, rows=ROWS))
    assert len(looks(asks)) - 5 <= len(heard) <= len(looks(asks))
    assert {len(told.rows) for told in heard} > {ROWS}


def test_racing_needs_the_score_and_halving_takes_any_measure() -> None:
    context = context_of(LINE, objectives=(Objective("cost_usd", "minimize"),))
    with pytest.raises(OptimizerError, match=r"needs 'score', .* but the objective is 'cost_usd'; use 'halving'"):
        Racing().start(context)
    Halving().start(context)


def test_names_say_what_is_inside_and_wrong_ones_are_answered() -> None:
    assert make_optimizer("racing:genetic", seed=0, max_trials=3).name == "racing:genetic"
    assert make_optimizer("halving", seed=0, max_trials=3).name == "halving"
    with pytest.raises(UnknownOptimizerError, match=r"'genetik'\. Did you mean 'genetic'"):
        make_optimizer("racing:genetik", seed=0, max_trials=3)
    with pytest.raises(UnknownOptimizerError, match="'random:genetic'"):
        make_optimizer("random:genetic", seed=0, max_trials=3)
    with pytest.raises(OptimizerError, match="'racing' cannot be its inner optimizer"):
        make_optimizer("halving:racing", seed=0, max_trials=3)


@pytest.mark.parametrize("made", [lambda: Halving(eta=1), lambda: Racing(width=0), lambda: Racing(alpha=1.0)])
def test_settings_that_cannot_be_are_refused(made: Callable[[], Optimizer]) -> None:
    with pytest.raises(OptimizerError, match="must be"):
        made()


def test_one_candidate_that_is_all_there_is_ends_the_search() -> None:
    space = Space({"model": Choice(["only"])})
    for name in ("halving", "racing"):
        asks = searched(make_optimizer(name, seed=3, max_trials=12), context_of(space), lambda _, __: 1.0)
        assert len(asks) == 1
