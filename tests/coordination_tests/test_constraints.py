"""Conditions, dependencies and constraints of spaces, and the errors they give at definition."""

from __future__ import annotations

import itertools
import pickle
import random
from collections import Counter
from typing import Any

import pytest
from space_rules import faulty, no_answer, slope, sum_is_even

from dspex_coordination.conditions import V, implies, lookup, total
from dspex_coordination.errors import InfeasibleSpaceError, SpaceError, VariableError
from dspex_coordination.space import Constraint, Space, at_most_one, exactly_one
from dspex_coordination.variables import Bool, Choice, Composite, Float, Int, Variable


def optimizer_space() -> Space:
    return Space(
        {
            "momentum": Float(0, 1, default=0.9, when={"optimizer": "sgd"}),
            "nesterov": Bool(when=V("momentum") > 0.5),
            "optimizer": Choice(["adam", "sgd"]),
        }
    )


def window_space(constraint: Constraint | None = None) -> Space:
    """A provider, its models and the window of each: what the original left to chance."""
    table = {"small": 4096, "large": 128_000}
    return Space(
        {
            "max_tokens": Int(1, 100_000, default=1000, log=True),
            "window": Composite(lookup(table, V("model"))),
            "model": Choice(["small", "large"]),
        },
        [constraint or Constraint(V("max_tokens") <= V("window"), "The answer must fit the window.")],
    )


def test_the_order_has_dependencies_first_and_else_declaration() -> None:
    assert optimizer_space().order == ("optimizer", "momentum", "nesterov")
    assert window_space().order == ("max_tokens", "model", "window")
    assert window_space().free == ("max_tokens", "model")


def test_bug_a_composite_of_a_composite_sees_the_new_value_not_a_stale_one() -> None:
    space = Space({"c": Composite(V("b") + 1), "b": Composite(V("a") * 2), "a": Int(0, 9, default=1)})
    assert space.order == ("a", "b", "c")
    assert dict(space.complete({"a": 4}).values) == {"c": 9, "b": 8, "a": 4}
    assert dict(space.complete({"a": 4, "b": 0, "c": 0}).values) == {"c": 9, "b": 8, "a": 4}


@pytest.mark.parametrize(
    ("variables", "circle"),
    [
        ({"a": Composite(V("b")), "b": Composite(V("a"))}, "a -> b -> a"),
        ({"a": Bool(when=V("a"))}, "a -> a"),
        (
            {"x": Bool(), "a": Bool(when=V("c")), "b": Bool(when=V("a") & V("x")), "c": Composite(V("b"))},
            "a -> c -> b -> a",
        ),
    ],
)
def test_bug_a_circle_of_dependencies_is_an_error_that_shows_it(variables: dict[str, Any], circle: str) -> None:
    with pytest.raises(SpaceError, match=f"in a circle: {circle};"):
        Space(variables)


def test_bug_constraints_that_cannot_be_kept_are_an_error_and_not_an_endless_search() -> None:
    with pytest.raises(InfeasibleSpaceError, match="contradict each other") as caught:
        Space({"a": Int(1, 5), "b": Int(1, 5), "c": Bool()}, [V("a") < V("b"), V("b") < V("a"), V("a") < 6])
    assert [names for names, _ in caught.value.problems] == ["a, b", "b, a"]
    with pytest.raises(InfeasibleSpaceError, match=r"x < 0\.6"):
        Space({"x": Float(0, 1)}, [V("x") > 0.7, V("x") < 0.6])
    with pytest.raises(InfeasibleSpaceError, match="bounded search"):
        Space({"x": Float(0, 1), "y": Float(0, 1)}, [V("x") * V("x") + V("y") * V("y") == 3])


def test_bug_a_model_that_must_fit_its_provider_is_drawn_without_rejecting_most_draws() -> None:
    models = {f"p{i}": [f"p{i}m{j}" for j in range(3)] for i in range(20)}
    space = Space(
        {
            "provider": Choice(list(models)),
            "model": Choice([model for group in models.values() for model in group]),
        },
        [V("model").is_in(lookup(models, V("provider")).expression)],
    )
    rng = random.Random(0)
    drawn = [space.sample(rng).values for _ in range(400)]
    assert all(values["model"] in models[values["provider"]] for values in drawn)
    assert space.count(1000) == 60
    assert len({values["model"] for values in drawn}) > 50


def test_an_inactive_variable_holds_its_default_whatever_is_given() -> None:
    space = optimizer_space()
    candidate = space.complete({"optimizer": "adam", "momentum": 0.1, "nesterov": True})
    assert dict(candidate.values) == {"momentum": 0.9, "nesterov": False, "optimizer": "adam"}
    assert space.active(candidate.values) == {"optimizer"}
    assert space.active({"optimizer": "sgd", "momentum": 0.6}) == {"optimizer", "momentum", "nesterov"}
    assert space.active({"optimizer": "sgd", "momentum": 0.4}) == {"optimizer", "momentum"}


def test_validate_reports_inactive_computed_missing_and_broken_at_once() -> None:
    space = Space(
        {**optimizer_space().variables, **window_space().variables},
        [Constraint(V("max_tokens") <= V("window"), "The answer must fit the window.")],
    )
    with pytest.raises(SpaceError) as caught:
        space.validate({"optimizer": "adam", "momentum": 0.1, "max_tokens": 5000, "window": 9000, "hat": 1})
    assert [names for names, _ in caught.value.problems] == ["hat", "model", "momentum", "window", "max_tokens, window"]
    text = str(caught.value)
    assert "momentum: is inactive unless optimizer == 'sgd', so it is 0.9 here and cannot be 0.1; leave it out." in text
    assert "window: is computed, so it is 4096 here and cannot be 9000" in text
    assert "The answer must fit the window. Fix: set max_tokens to 4096." in text


def test_a_violation_names_its_variables_and_a_fix_that_works() -> None:
    space = window_space()
    (violation,) = space.violations({"max_tokens": 50_000})
    assert violation.names == ("max_tokens", "window")
    assert violation.fix == "set max_tokens to 4096"
    assert space.feasible({"max_tokens": 4096})
    own = window_space(Constraint(V("max_tokens") <= V("window"), fix="Choose the large model."))
    assert str(own.violations({"max_tokens": 5000})[0]) == (
        "max_tokens <= window does not hold: 5000 <= 4096. Fix: Choose the large model."
    )


def test_defaults_that_break_a_constraint_are_an_error_that_offers_others() -> None:
    with pytest.raises(SpaceError, match=r"these would do: a=1\. They break:\n  - a < b does not hold: 3 < 2\."):
        Space({"a": Int(1, 5), "b": Int(1, 3)}, [V("a") < V("b")])


def test_an_unknown_name_in_a_condition_or_constraint_is_an_error_with_near_matches() -> None:
    with pytest.raises(SpaceError) as caught:
        Space(
            {"model": Choice(["a", "b"]), "k": Int(1, 3, when={"modle": "a"}), "sum": Composite(V("kk") + 1)},
            [V("moddel") == "a"],
        )
    assert [name for name, _ in caught.value.problems] == ["k", "sum", "moddel"]
    assert str(caught.value).count("Did you mean 'model'") == 2


def test_requirements_and_conflicts_count_only_away_from_the_default() -> None:
    space = Space(
        {
            "tools": Bool(requires={"model": "large"}),
            "json": Bool(conflicts=V("tools")),
            "model": Choice(["small", "large"]),
        }
    )
    assert space.count(100) == 5
    assert [str(one) for one in space.violations({"tools": True, "json": True})] == [
        "tools requires model == 'large'. Fix: set model to 'large'.",
        "json conflicts with tools == True. Fix: set tools to False.",
    ]


def test_a_constraint_on_an_inactive_variable_is_kept_but_sums_pass_over_it() -> None:
    variables: dict[str, Variable[Any]] = {
        "layers": Int(1, 2, default=1),
        "first": Int(1, 9, default=1),
        "second": Int(1, 9, default=9, when=V("layers") == 2),
    }
    assert Space(variables, [V("second") < 5, V("first") < 5]).feasible({"layers": 1})
    assert not Space(variables, [V("second") < 5, V("first") < 5]).feasible({"layers": 2})
    budget = Space(variables, [total(V("first"), V("second")) <= 8])
    assert budget.feasible({"layers": 1, "first": 8})
    assert not budget.feasible({"layers": 1, "first": 9})
    assert budget.count(1000) == 8 + 7 * 8 // 2


def test_exclusion_cardinality_equality_and_budget() -> None:
    flags: dict[str, Variable[Any]] = {name: Bool() for name in "abcd"}
    assert Space(flags, [at_most_one(*(V(name) for name in "abcd"))]).count(100) == 5
    with pytest.raises(SpaceError, match="these would do"):
        Space(flags, [exactly_one(*(V(name) for name in "abcd"))])
    one = Space({**flags, "a": Bool(default=True)}, [exactly_one(*(V(name) for name in "abcd"))])
    assert Counter(next(n for n in "abcd" if one.sample(random.Random(s)).values[n]) for s in range(200)).keys() == set(
        "abcd"
    )
    thirds: dict[str, Variable[Any]] = {
        name: Float(0, 1, default=d) for name, d in zip("abc", (0.2, 0.3, 0.5), strict=True)
    }
    simplex = Space(thirds, [total(V("a"), V("b"), V("c")) == 1])
    for seed in range(50):
        assert sum(simplex.sample(random.Random(seed)).values.values()) == pytest.approx(1)
    moved = simplex.repair({"a": 0.9, "b": 0.3, "c": 0.5}, random.Random(0))
    assert moved is not None
    assert simplex.feasible(moved.values)


def test_a_function_is_a_constraint_by_its_module_and_name() -> None:
    space = Space({"a": Int(1, 4), "b": Int(1, 4), "c": Bool()}, [Constraint(sum_is_even, names=["a", "b"])])
    assert space.count(100) == 16
    assert space.constraints[0].to_json() == {"function": "space_rules:sum_is_even", "names": ["a", "b"]}
    assert Space.from_json(space.to_json()) == pickle.loads(pickle.dumps(space)) == space
    (violation,) = space.violations({"a": 1, "b": 2})
    assert (violation.message, violation.fix) == ("1 + 2 is odd", "set b to 1")
    with pytest.raises(SpaceError, match="space_rules:faulty failed for a=3: ZeroDivisionError"):
        Space({"a": Int(1, 4)}, [faulty]).violations({"a": 3})
    with pytest.raises(SpaceError, match="space_rules:no_answer must return True, False or a sentence, got None"):
        Space({"a": Bool()}, [no_answer])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda values: True, "has no import path, so it cannot be written as JSON"),  # noqa: ARG005 - the contract's
        (3, "A condition is"),
        ("a < b", "A condition is"),
    ],
)
def test_what_is_no_constraint_is_refused(rule: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Space({"a": Bool()}, [rule])


def test_a_thousand_variables_are_drawn_listed_and_repaired() -> None:
    variables: dict[str, Variable[Any]] = {f"v{i:04}": Int(0, 3, default=1) for i in range(1000)}
    chain = [V(f"v{i:04}") <= V(f"v{i + 1:04}") + 1 for i in range(20)]
    space = Space(variables, chain)
    rng = random.Random(0)
    assert space.feasible(space.sample(rng).values)
    assert len({candidate.key for candidate in itertools.islice(space.every(4), 5)}) == 5
    broken = {**space.default().values, "v0000": 3}
    repaired = space.repair(broken, rng)
    assert repaired is not None
    assert sum(repaired.values[name] != broken[name] for name in variables) == 1


def test_a_guarded_part_of_a_constraint_is_not_computed_where_it_cannot_be() -> None:
    guarded = (V("d") == 0) | (V("w") / V("d") > 1) | (V("z") > 3)
    space = Space({"d": Int(0, 3), "w": Int(0, 9), "z": Int(0, 9, default=4)}, [guarded])
    candidates = list(space.every(100))
    assert (
        space.count(1000)
        == len(candidates)
        == sum(d == 0 or w / d > 1 or z > 3 for d in range(4) for w in range(10) for z in range(10))
    )


def test_variables_and_constraints_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(SpaceError, match="constraints of a space are a list"):
        Space({"a": Bool()}, V("a") == 1)  # type: ignore[arg-type] # the error
    with pytest.raises(SpaceError, match="a mapping of names to variables"):
        Space([Bool()])  # type: ignore[arg-type] # the error


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"function": "space_rules:absent"}, "'space_rules:absent' cannot be imported here"),
        ({"function": "no_such_module:f"}, "cannot be imported here"),
        ({"function": "nonsense"}, "'nonsense' is no import path"),
        ({"function": 3}, "expected a function, a class or an import path"),
        ({"condition": {"a": 1}, "function": "space_rules:slope"}, "has 'condition' or 'function'"),
        ({"condition": {"a": 1}, "massage": "x"}, "has 'condition' or 'function'"),
        ([], "has 'condition' or 'function'"),
    ],
)
def test_json_that_is_no_constraint_is_refused(data: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Space.from_json({"variables": {"a": Bool().to_json()}, "constraints": [data]})
    with pytest.raises(SpaceError, match="constraints in a space's JSON are a list"):
        Space.from_json({"variables": {}, "constraints": {"a": 1}})


def test_a_type_error_in_a_constraint_names_expression_and_values() -> None:
    with pytest.raises(SpaceError, match="model < 3 cannot be computed for model='small'"):
        window_space(Constraint(V("model") < 3))


def test_a_computed_value_outside_its_domain_is_never_drawn() -> None:
    space = Space(
        {
            "a": Int(1, 10, default=2),
            "b": Int(0, 10, default=2),
            "sum": Composite(V("a") + V("b"), domain=Int(1, 6)),
            "slope": Composite(slope, depends_on=["a", "b"], when=V("b") > 0),
        }
    )
    rng = random.Random(0)
    for _ in range(50):
        values = space.sample(rng).values
        assert values["sum"] == values["a"] + values["b"] <= 6
        assert values["slope"] == (values["a"] / values["b"] if values["b"] else None)
    assert space.count(1000) == 6 + 5 + 4 + 3 + 2 + 1
    assert [one.names for one in space.violations({"a": 9})] == [("sum", "a", "b")]
    with pytest.raises(SpaceError, match="sum: 11 is not allowed"):
        space.complete({"a": 9})
    repaired = space.repair({"a": 9, "b": 2}, rng)
    assert repaired is not None
    assert repaired.values["b"] == 2 or repaired.values["a"] == 9


def test_draws_keep_the_declared_distribution_among_the_feasible() -> None:
    space = Space(
        {"a": Choice(["x", "y"], weights=[9.0, 1.0]), "b": Choice(["x", "y", "z"])},
        [implies({"a": "x"}, V("b") == "x")],
    )
    rng = random.Random(5)
    drawn = Counter((values["a"], values["b"]) for values in (space.sample(rng).values for _ in range(3000)))
    assert drawn["x", "x"] / 3000 == pytest.approx(0.9 / 1.2, abs=0.03)
    assert drawn["y", "z"] / 3000 == pytest.approx(0.1 / 1.2, abs=0.03)


def test_a_tight_finite_part_is_drawn_by_its_chances() -> None:
    flags: dict[str, Variable[Any]] = {f"b{i:02}": Bool(default=i == 0) for i in range(16)}
    space = Space(flags, [exactly_one(*(V(name) for name in flags))])
    rng = random.Random(1)
    drawn = Counter(next(name for name, value in space.sample(rng).values.items() if value) for _ in range(1600))
    assert len(drawn) == 16
    assert max(drawn.values()) < 2 * min(drawn.values())


def test_a_hard_puzzle_is_drawn_repaired_and_counted() -> None:
    queens = [0, 4, 7, 5, 2, 6, 1, 3]
    names = [f"q{i}" for i in range(8)]
    rules = [
        rule
        for i in range(8)
        for j in range(i)
        for rule in (V(names[i]) != V(names[j]), V(names[i]) - V(names[j]) != i - j, V(names[j]) - V(names[i]) != i - j)
    ]
    space = Space({name: Int(0, 7, default=queen) for name, queen in zip(names, queens, strict=True)}, rules)
    assert space.count(1000) == 92
    assert space.feasible(space.sample(random.Random(3)).values)
    repaired = space.repair(dict.fromkeys(names, 0), random.Random(3))
    assert repaired is not None
    assert space.feasible(repaired.values)


def test_listing_goes_to_finer_grids_where_constraints_leave_little() -> None:
    space = Space({"x": Int(0, 1000, default=77)}, [(V("x") % 50 == 27)])
    assert {candidate.values["x"] for candidate in space.every(20)} == set(range(27, 1001, 50))
    assert space.count(100) == 20


def test_an_infinite_space_has_no_count_and_an_unconstrained_one_is_counted_without_listing() -> None:
    assert Space({"x": Float(0, 1)}).count(10**9) is None
    assert Space({f"b{i}": Bool() for i in range(40)}).count(2**40) == 2**40
    assert Space({f"b{i}": Bool() for i in range(40)}).count(2**40 - 1) is None
    assert Space({}).count(1) == 1


def test_a_message_is_no_part_of_the_fingerprint_but_the_condition_is() -> None:
    prints = [
        window_space(constraint).fingerprint
        for constraint in (
            Constraint(V("max_tokens") <= V("window")),
            Constraint(V("max_tokens") <= V("window"), "Too long."),
            Constraint(V("max_tokens") < V("window")),
        )
    ]
    assert prints[0] == prints[1] != prints[2]


def test_values_outside_their_domain_cannot_be_completed() -> None:
    with pytest.raises(SpaceError, match="hat: no such variable"):
        optimizer_space().complete({"hat": 1, "optimizer": "adam"})
    with pytest.raises(SpaceError, match="optimizer: 'adagrad' is not allowed"):
        optimizer_space().repair({"optimizer": "adagrad"}, random.Random(0))
    with pytest.raises(VariableError, match="when: give one condition"):
        Bool(when=[{"a": 1}, {"b": 2}])  # type: ignore[arg-type] # the error
