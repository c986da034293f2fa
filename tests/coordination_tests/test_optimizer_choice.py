"""Grid, designs and the choice of an optimizer by space, budget and objectives."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_contract import SPACES, answer, context_of

from dspex_coordination import Bool, Choice, Demos, Float, Int, OptimizerError, Space, make_optimizer
from dspex_coordination.conditions import V
from dspex_coordination.objectives import COST, SCORE
from dspex_coordination.optimizers import Ask, Auto, Grid, SearchContext, choose
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.latin import nested_points


def asked(name: str, context: SearchContext) -> list[Ask]:
    optimizer = make_optimizer(name, seed=context.seed, max_trials=context.max_trials)
    optimizer.start(context)
    asks: list[Ask] = []
    while (ask := optimizer.ask(0)) is not None:
        optimizer.tell(answer(len(asks), ask, context))
        asks.append(ask)
    return asks


def test_a_grid_holds_each_combination_of_the_levels_once() -> None:
    space = Space({"x": Float(0, 1, default=0.0), "kind": Choice(["a", "b"])})
    optimizer = Grid(levels=3)
    optimizer.start(context_of(space, trials=50))
    asks = [ask.candidate.values for ask in iter(lambda: optimizer.ask(0), None)]
    assert sorted((one["x"], one["kind"]) for one in asks) == [(x, k) for x in (0.0, 0.5, 1.0) for k in ("a", "b")]


def test_a_grid_leaves_out_what_is_infeasible_or_the_same() -> None:
    space = Space(
        {"deep": Bool(), "depth": Int(1, 4, default=1, when=V("deep") == True), "n": Int(1, 4)},  # noqa: E712 - a condition
        [V("depth") <= V("n")],
    )
    asks = asked("grid", context_of(space, trials=50))
    expected = {(False, 1, n) for n in range(1, 5)} | {(True, d, n) for n in range(1, 5) for d in range(1, n + 1)}
    assert {(one["deep"], one["depth"], one["n"]) for one in (ask.candidate.values for ask in asks)} == expected
    assert len(asks) == len(expected)


def test_a_grid_of_more_points_than_trials_says_how_many_and_what_to_do() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1), "kind": Choice(["a", "b"])})
    with pytest.raises(OptimizerError, match=r"max_trials=20: This grid has 50 candidates.*fewer levels"):
        Grid().start(context_of(space, trials=20))
    early = tuple(space.sample(seeded(number)) for number in range(3))
    with pytest.raises(OptimizerError, match="need 53 trials, but max_trials is 51"):
        Grid().start(context_of(space, trials=51, early=early))


def test_an_unordered_variable_has_all_its_options_in_a_grid() -> None:
    space = Space({"model": Choice([f"m{i}" for i in range(9)])})
    assert len(asked("grid", context_of(space, trials=20))) == 9


@given(dimensions=st.integers(1, 4), doublings=st.integers(0, 5), seed=st.integers(0, 999))
def test_latin_hypercubes_are_nested(dimensions: int, doublings: int, seed: int) -> None:
    count = 2**doublings
    points = [point for point, _ in zip(nested_points(dimensions, seeded(seed)), range(count), strict=False)]
    for axis in range(dimensions):
        assert sorted(int(point[axis] * count) for point in points) == list(range(count))


def test_sobol_covers_both_halves_of_every_axis_evenly() -> None:
    space = Space({f"x{i}": Float(0, 1) for i in range(6)})
    asks = asked("sobol", context_of(space, trials=33))
    for name in space.names:
        assert sum(ask.candidate.values[name] < 0.5 for ask in asks[1:]) == 16


@pytest.mark.parametrize("name", ["random", "latin", "sobol"])
def test_weights_and_distributions_are_honoured(name: str) -> None:
    space = Space({"kind": Choice(["a", "b"], weights=[9.0, 1.0]), "x": Float(0.001, 10, log=True)})
    asks = asked(name, context_of(space, trials=200))
    assert 165 <= sum(ask.candidate.values["kind"] == "a" for ask in asks) <= 195
    assert 80 <= sum(ask.candidate.values["x"] < 0.1 for ask in asks) <= 120


NUMBERS = SPACES["numbers"]
CHOICES = [
    (context_of(SPACES["few"], trials=12), "grid", "12 candidates and 12 trials"),
    (context_of(SPACES["few"], trials=11), "beacon", "11 trials"),
    (context_of(NUMBERS, objectives=(SCORE, COST)), "nsga2", "2 objectives"),
    (context_of(SPACES["demos"], trials=30), "bootstrap", "demonstrations"),
    (context_of(NUMBERS, trials=100), "beacon", "100 trials"),
    (context_of(NUMBERS, trials=5000), "genetic", "5000 trials"),
    (context_of(NUMBERS, trials=5000, rows=200), "halving:genetic", "Of 200 rows"),
    (context_of(NUMBERS, trials=5000, rows=200, objectives=(COST,)), "halving:genetic", "Of 200 rows"),
    (
        replace(
            context_of(Space({"demos": Demos(max=4)})), train_ids=(), train_labels=None, train_rows=0, max_trials=1
        ),
        "grid",
        "1 candidate",
    ),
]


@pytest.mark.parametrize(("context", "name", "reason"), CHOICES)
def test_the_choice_says_why(context: SearchContext, name: str, reason: str) -> None:
    chosen = choose(context)
    assert chosen.name == name
    assert reason in chosen.reason
    assert chosen.reason.endswith(".")
    make_optimizer(chosen.name, seed=context.seed, max_trials=context.max_trials).start(context)


def test_auto_searches_as_the_chosen_one_and_keeps_its_state() -> None:
    context = context_of(SPACES["demos"], trials=9)
    assert asked("auto", context) == asked("bootstrap", context)
    one, other = Auto(), Auto(seed=context.seed)
    one.start(context)
    other.start(context)
    for number in range(4):
        ask = one.ask(0)
        assert ask is not None
        one.tell(answer(number, ask, context))
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.ask(0) == one.ask(0)
    assert other.best() == one.best()
    assert other.chosen == choose(context)
    with pytest.raises(OptimizerError, match=r"'bootstrap'.* cannot be loaded into 'auto'"):
        other.load_state_dict({"optimizer": "bootstrap"})
    with pytest.raises(OptimizerError, match="start"):
        Auto().ask(0)


def test_importing_the_optimizers_imports_neither_numpy_nor_scipy() -> None:
    code = (
        "import sys; from dspex_coordination import make_optimizer; "
        "make_optimizer('random', seed=0, max_trials=1); make_optimizer('genetic', seed=0, max_trials=1); "
        "print(sorted({'numpy', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
