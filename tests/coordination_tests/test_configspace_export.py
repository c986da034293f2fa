"""Export to ConfigSpace: what is drawn there is feasible here, and what has no form there is named."""

from __future__ import annotations

import builtins
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_coordination.conditions import V, count, implies, lookup
from dspex_coordination.configspace_export import from_configuration, to_configspace
from dspex_coordination.errors import CoordinationError, SpaceError
from dspex_coordination.ready_spaces import MODELS, ModelFacts, language_model_space
from dspex_coordination.space import Constraint, Space
from dspex_coordination.variables import Bool, Choice, Composite, Demos, Float, Int, Module, Text, Variable


def check(space: Space, draws: int = 300) -> list[dict[str, Any]]:
    """Draw configurations there and hold each to our space: feasible, and active where we say so."""
    target = to_configspace(space, seed=3)
    assert from_configuration(space, target.get_default_configuration()) == space.default()
    found = []
    for configuration in target.sample_configuration(draws):
        candidate = from_configuration(space, configuration)
        assert space.violations(candidate.values) == ()
        assert set(dict(configuration)) == space.active(candidate.values) & set(space.free)
        found.append(dict(candidate.values))
    return found


def test_every_kind_condition_and_rule_that_has_a_form_is_exported() -> None:
    space = Space(
        {
            "p": Choice(["a", "b"], weights=[1, 3]),
            "x": Float(0, 1, when={"p": "a"}),
            "n": Int(1, 5000, log=True),
            "m": Int(1, 10000, default=6000),
            "t": Float(0, 2, step=0.1, default=0.1),
            "o": Choice(["l", "m", "h"], ordered=True),
            "z": Float(0, 10, default=2, distribution="normal", when=(V("p") == "b") & (V("n") >= 30)),
            "k": Bool(requires={"p": "b"}),
            "w": Float(0, 1, when=(V("x") > 0.5) | V("k")),
            "mod": Module({"a": int, "b": str}, compatible={"b": {"o": ["m", "h"]}}),
            "text": Text("x", pool=["y"], conflicts={"o": "h"}),
            "one": Text("fixed"),
            "c": Composite(V("t") * 2),
        },
        [
            V("n") <= V("m"),
            Constraint(~((V("t") > 1.5) & (V("o") == "l"))),
            implies(V("p") == "a", V("t") <= 1.05),
            V("z") <= 9,
            V("c") <= 3.5,
            count(V("k"), V("o") == "h", V("mod") == "b") <= 1,
        ],
    )
    found = check(space)
    assert sum(one["p"] == "b" for one in found) > 150
    assert {one["k"] for one in found} == {True, False}


def test_the_space_of_language_models_is_exported_with_small_windows() -> None:
    found = check(language_model_space([*MODELS, ModelFacts("own/small", "own", 4000, 1500, 1, 1, temperature=1.0)]))
    assert {one["provider"] for one in found} == {"openai", "anthropic", "groq", "google", "own"}


names = st.sampled_from(["a", "b", "i", "r"])


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> Any:
    if depth and draw(st.booleans()):
        left, right = draw(conditions(depth - 1)), draw(conditions(depth - 1))
        return draw(st.sampled_from([left & right, left | right, ~left]))
    name = draw(names)
    if name == "a":
        return V("a").is_in(draw(st.lists(st.sampled_from("xyz"), min_size=1, max_size=2)))
    if name == "b":
        return V("b") == draw(st.booleans())
    bound = draw(st.integers(-1, 5)) if name == "i" else draw(st.integers(-1, 21)) / 20
    comparison = draw(st.sampled_from(["<", "<=", ">", ">="]))
    value = V(name)
    return {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[comparison]


def test_all_and_any_of_the_same_conditions_stay_apart() -> None:
    space = Space(
        {
            "a": Choice(["x", "y", "z"]),
            "b": Bool(),
            "all": Float(0, 1, when={"a": "x", "b": True}),
            "any": Float(0, 1, when=(V("a") == "x") | V("b")),
        }
    )
    assert {(one["a"], one["b"]) for one in check(space)} == {(a, b) for a in "xyz" for b in (True, False)}


@settings(max_examples=25, deadline=None)
@given(conditions(), conditions(), conditions(1))
def test_random_conditions_and_rules_mean_the_same_there(inner: Any, outer: Any, rule: Any) -> None:
    variables: dict[str, Variable[Any]] = {
        "a": Choice(["x", "y", "z"]),
        "b": Bool(),
        "i": Int(0, 4),
        "r": Float(0, 1),
        "c": Choice(["p", "q"], when=inner),
        "d": Float(0, 1, when=outer & (V("c") == "p")),
    }
    try:
        space = Space(variables, [rule | (V("d") > 0.25)])
    except SpaceError:
        return  # the defaults break the rule
    check(space, 40)


def test_what_has_no_form_there_is_named_all_at_once() -> None:
    space = Space(
        {
            "demos": Demos(),
            "log": Float(0.1, 1, log=True, precision=0.1),
            "bell": Float(1, 2, log=True, distribution="normal"),
            "list": Choice([[1], [2]]),
            "mixed": Choice([1, True]),
            "heavy": Choice(["l", "h"], ordered=True, weights=[1, 2]),
            "fine": Int(0, 100_000, step=2),
            "x": Float(0, 1),
            "y": Float(0, 1, when=V("x") * 2 > 0.5),
        },
        [V("x") + V("y") <= 1.5],
    )
    with pytest.raises(SpaceError, match="cannot be exported to ConfigSpace") as caught:
        to_configspace(space)
    assert {name for name, _ in caught.value.problems} == {
        "demos", "log", "bell", "list", "mixed", "heavy", "fine", "y", "x, y",
    }  # fmt: skip


def test_constraints_without_a_form_are_left_out_on_request() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1, default=0.1)}, [V("x") + V("y") <= 0.7, V("x") <= 0.6])
    with pytest.raises(
        SpaceError, match=r"the constraint x \+ y <= 0.7: .*depends on x, which has too many values to list"
    ):
        to_configspace(space)
    found = to_configspace(space, seed=1, skip_constraints=True).sample_configuration(60)
    assert all(one["x"] <= 0.6 for one in found)
    assert not all(space.feasible(dict(one)) for one in found)


def test_a_variable_that_is_never_active_is_left_out_with_its_rules() -> None:
    space = Space({"a": Choice(["x"]), "b": Bool(when={"a": "y"}), "i": Int(0, 3)}, [~(V("b") & (V("i") > 1))])
    assert "b" not in to_configspace(space)
    assert {one["i"] for one in check(space, 60)} == {0, 1, 2, 3}


def test_a_rule_over_a_table_is_exported_by_its_values() -> None:
    table = {"small": 2, "large": 9}
    space = Space({"m": Choice(["small", "large"]), "n": Int(1, 9, default=2)}, [V("n") <= lookup(table, V("m"))])
    found = check(space)
    assert {one["n"] for one in found if one["m"] == "small"} == {1, 2}
    assert {one["n"] for one in found if one["m"] == "large"} == set(range(1, 10))


def test_values_out_of_the_domain_of_a_computed_variable_are_forbidden_there() -> None:
    space = Space(
        {
            "on": Bool(default=True),
            "a": Int(0, 3, when={"on": True}),
            "b": Int(0, 3, default=1),
            "sum": Composite(V("a") + V("b"), domain=Int(0, 3)),
            "cost": Composite(V("sum") * 2),
        },
        [V("cost") != 6],
    )
    found = check(space)
    assert {one["sum"] for one in found} == {None, 0, 1, 2}
    wide = Space({"x": Float(0, 1), "y": Composite(V("x") * 2, domain=Float(0, 1.5))})
    with pytest.raises(SpaceError, match="the domain of y: y depends on x, which has too many values"):
        to_configspace(wide)


def test_the_seed_decides_what_is_drawn_there() -> None:
    space = Space({"x": Float(0, 1)})
    first, second = (to_configspace(space, seed=5).sample_configuration()["x"] for _ in range(2))
    assert first == second


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "ConfigSpace":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(CoordinationError, match=r"install dspex-ray\[configspace\]"):
        to_configspace(Space({"x": Float(0, 1)}))


def test_numbers_of_numpy_come_back_as_plain_ones() -> None:
    space = Space({"i": Int(0, 9), "b": Bool(), "s": Choice(["u", "v"])})
    configuration = to_configspace(space, seed=0).sample_configuration()
    assert {type(value) for value in from_configuration(space, configuration).values.values()} == {int, bool, str}
    assert space.sample(random.Random(0)).values.keys() == dict(configuration).keys()
