"""Each variable: its domain, its errors, its JSON, and its behaviour as a class attribute."""

from __future__ import annotations

import copy
import math
import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from random_variables import seeds, variables

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import V
from dspex_coordination.errors import UnboundVariableError, VariableError
from dspex_coordination.variables import Bool, Choice, Demos, Float, Int, Variable


@given(variables, seeds)
def test_every_sample_is_valid_and_stays_the_same_through_json(variable: Variable[Any], seed: int) -> None:
    value = variable.sample(random.Random(seed))
    assert canonical_json(variable.validate(value)) == canonical_json(value)
    assert variable.sample(random.Random(seed)) == value


@given(variables)
def test_every_default_is_valid(variable: Variable[Any]) -> None:
    assert canonical_json(variable.validate(variable.default)) == canonical_json(variable.default)


@given(variables)
def test_json_rebuilds_an_equal_variable(variable: Variable[Any]) -> None:
    named = variable.named("it")
    again = Variable.from_json(named.to_json())
    assert again.to_json() == named.to_json()
    assert type(again) is type(named)
    assert pickle.loads(pickle.dumps(named)) == named


def test_steps_give_the_decimal_a_person_would_write() -> None:
    variable = Float(0, 1, step=0.1)
    assert variable.validate(0.1 + 0.2) == 0.3
    with pytest.raises(VariableError, match=r"in steps of 0\.1, such as 0\.3"):
        variable.validate(0.34)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(2, 1), "low must be below high, got low=2.0 and high=1.0"),
        (lambda: Float(math.nan, 1), "Float: low must be finite"),
        (lambda: Float(0, math.inf), "Float: high must be finite"),
        (lambda: Float(True, 2), "Float: low must be a number, got True"),
        (lambda: Float("0", 2), "Float: low must be a number, got '0'"),  # type: ignore[arg-type]
        (lambda: Float(0, 1, default=2), "default is outside the domain: Float: 2 is not allowed"),
        (lambda: Float(0, 1, log=True), "log=True needs low above 0"),
        (lambda: Float(0, 1, log=1), "log must be True or False"),  # type: ignore[arg-type]
        (lambda: Float(0.1, 1.1, log=True, step=0.5), r"log=True needs low above half of a step, 0\.25, got low=0\.1"),
        (lambda: Float(0, 1, step=0.3), r"step 0.3 does not divide high - low = 1.0"),
        (lambda: Float(0, 1, step=-1), "step must be above 0"),
        (lambda: Float(0, 1, precision=0.03), r"precision 0.03 does not divide high = 1.0 evenly"),
        (lambda: Float(0.05, 1, precision=0.1), r"precision 0.1 does not divide low = 0.05 evenly"),
        (lambda: Float(0, 1, precision=0), "precision must be above 0, got 0.0"),
        (lambda: Float(0, 1, precision=0.1, step=0.1), "step and precision exclude each other"),
        (lambda: Float(0, 1, distribution="beta"), "unknown distribution 'beta'; give one of 'uniform', 'log'"),  # type: ignore[arg-type]
        (lambda: Float(0, 1, distribution="log"), "log=True needs low above 0"),
        (lambda: Int(0, 10, step=3), "step must be at least 1 and divide high - low = 10 evenly, got 3"),
        (lambda: Int(0, 10, step=5, default=3), "default is outside the domain.*integer from 0 to 10 in steps of 5"),
        (lambda: Int(2, 12, step=5, log=True), "log=True needs low above half of a step, 2.5, got low=2"),
        (lambda: Choice(["a", "b"], weights=[1]), "2 options need as many weights, got 1"),
        (lambda: Choice(["a", "b"], weights=[0, 0]), "weights must be at least 0 with a positive sum"),
        (lambda: Choice(["a", "b"], weights=[2, -1]), "weights must be at least 0 with a positive sum"),
        (lambda: Choice(["a", "b"], weights=[1, math.inf]), r"weights\[1\] must be finite"),
        (lambda: Choice(["a", "b"], weights="ab"), "weights must be a list of numbers"),  # type: ignore[arg-type]
        (lambda: Choice(["a", "b"], weights=[0, 1], default="a"), "the default 'a' has weight 0"),
        (lambda: Choice(["a"], ordered=1), "ordered must be True or False"),  # type: ignore[arg-type]
        (lambda: Float(0, 1, when=3), "Float: when: A condition is V"),  # type: ignore[arg-type]
        (lambda: Bool(requires=[{}]), "Bool: requires: .*names at least one variable"),
        (lambda: Bool(when=[{"a": 1}, {"b": 2}]), "when: give one condition; join several with &"),  # type: ignore[arg-type]
        (lambda: Float(-1.7e308, 1.7e308), "high - low must be finite"),
        (lambda: Int(3, 3), "low must be below high, got low=3 and high=3"),
        (lambda: Int(0.5, 3), "Int: low must be an integer, got 0.5"),  # type: ignore[arg-type]
        (lambda: Int(0, 2**60), "stay exact in JSON"),
        (lambda: Int(0, 3, log=True), "log=True needs low above 0"),
        (lambda: Int(0, 3, default=True), "must be an integer, got True"),
        (lambda: Choice([]), "options is empty"),
        (lambda: Choice("abc"), "options must be a list"),
        (lambda: Choice(["a", "b", "a"]), r"options\[2\] 'a' repeats options\[0\]"),
        (lambda: Choice([{1, 2}]), r"options\[0\] .* is no JSON value"),
        (lambda: Choice([math.nan]), "is no JSON value"),
        (lambda: Choice(["a"], default="b"), "default is outside the domain.*give one of 'a'"),
        (lambda: Bool(default=1), "default must be True or False, got 1"),  # type: ignore[arg-type]
        (lambda: Demos(max=-1), "max must be at least 0, got -1"),
        (lambda: Demos(max=2.0), "max must be an integer"),  # type: ignore[arg-type]
        (lambda: Demos(select=["closest"]), "unknown select mode 'closest'; the modes are 'fixed' and 'nearest'"),
        (lambda: Demos(select=[]), "select must be a non-empty list"),
        (lambda: Demos(select="fixed"), "select must be a non-empty list"),
        (lambda: Demos(select=["fixed", "fixed"]), "select repeats a mode"),
        (lambda: Demos(max=0, select=["nearest"]), "max=0 leaves nothing to select"),
        (lambda: Demos(max=1, default={"select": "nearest", "k": 2}), "default is outside.*k from 1 to 1"),
    ],
)
def test_a_bad_definition_names_the_field_and_what_is_right(make: Any, message: str) -> None:
    with pytest.raises(VariableError, match=message):
        make()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (Float(0, 1), 1.5, "v: 1.5 is not allowed; give a number from 0.0 to 1.0"),
        (Float(0, 1), True, "v must be a number, got True .* from 0.0 to 1.0"),
        (Float(0, 1), math.nan, "v must be finite"),
        (Int(0, 9), 10, "v: 10 is not allowed; give an integer from 0 to 9"),
        (Int(0, 9), 2.0, "v must be an integer, got 2.0"),
        (Int(0, 9), True, "v must be an integer, got True"),
        (Choice(["a", "b"]), "c", "v: 'c' is not allowed; give one of 'a', 'b'"),
        (Choice([0, 1]), True, "v: True is not allowed"),
        (Choice(["a"]), {1}, "is not allowed"),
        (Bool(), 0, "v: 0 is not allowed; give True or False"),
        (Demos(), "fixed", "v: 'fixed' is not allowed; give {'select': 'fixed'"),
        (Demos(), {"select": "fixed", "ids": "ab"}, "give ids as a list of text"),
        (Demos(max=1), {"select": "fixed", "ids": ["a", "b"]}, "2 ids are more than max=1"),
        (Demos(), {"select": "fixed", "ids": ["a", "a"]}, "give every id once"),
        (Demos(), {"select": "nearest", "k": 0}, "give k from 1 to 16"),
        (Demos(select=["fixed"]), {"select": "nearest", "k": 2}, "is not allowed; give {'select': 'fixed'"),
        (Demos().bind(["a"]), {"select": "fixed", "ids": ["a", "z"]}, r"\['z'\] is not allowed; give ids of examples"),
    ],
)
def test_a_bad_value_names_variable_value_and_what_is_right(variable: Variable[Any], value: Any, message: str) -> None:
    with pytest.raises(VariableError, match=message):
        variable.named("v").validate(value)


def test_numbers_of_numpy_become_plain_numbers() -> None:
    assert type(Int(0, 9).validate(np.int64(3))) is int
    assert type(Float(0, 9).validate(np.float32(0.5))) is float
    assert type(Float(0, 9).validate(3)) is float


def test_an_option_list_may_hold_none_true_and_one_as_three_options() -> None:
    variable = Choice([1, True, None])
    assert variable.validate(True) is True
    assert variable.validate(None) is None
    assert variable.cardinality == 3


def test_demos_draw_from_the_bound_pool_and_without_one_give_the_empty_set() -> None:
    unbound = Demos(max=3, select=["fixed"])
    assert unbound.sample(random.Random(1)) == {"select": "fixed", "ids": []}
    bound = unbound.bind(["a", "b"])
    drawn = {tuple(bound.sample(random.Random(seed))["ids"]) for seed in range(60)}
    assert drawn == {("a",), ("b",), ("a", "b"), ("b", "a")}
    assert unbound.pool is None
    assert (unbound.cardinality, bound.cardinality) == (None, 5)


def test_binding_a_bad_pool_is_refused() -> None:
    with pytest.raises(VariableError, match="holds the id 'a' twice"):
        Demos().bind(["a", "b", "a"])
    with pytest.raises(VariableError, match="2 ids need as many labels, got 1"):
        Demos().bind(["a", "b"], ["x"])


class Holder:
    temperature = Float(0.0, 1.5, default=0.2)
    style = Choice(["plain", "rich"])

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


def test_on_the_class_a_variable_is_itself_and_on_an_instance_its_value() -> None:
    assert Holder.temperature.default == 0.2
    assert Holder.temperature.name == "temperature"
    assert Holder({"temperature": 0.9}).temperature == 0.9


def test_reading_a_variable_without_a_value_is_a_clear_error_and_an_absent_attribute() -> None:
    holder = Holder({"temperature": 0.9})
    with pytest.raises(UnboundVariableError, match="Holder object holds no value for its variable 'style'"):
        _ = holder.style
    assert not hasattr(holder, "style")


def test_a_variable_is_immutable_on_instances_and_by_itself() -> None:
    with pytest.raises(UnboundVariableError, match="'temperature' of Holder cannot be assigned"):
        setattr(Holder({"temperature": 0.9}), "temperature", 1.0)  # noqa: B010 - type checkers forbid the plain form
    with pytest.raises(VariableError, match="immutable; 'low' cannot be changed"):
        Holder.temperature.low = 3


def test_one_variable_object_cannot_be_two_attributes() -> None:
    shared = Float(0, 1)
    with pytest.raises((VariableError, RuntimeError)) as caught:  # Python 3.11 wraps what __set_name__ raises
        type("Twice", (), {"a": shared, "b": shared})
    assert "same variable object as 'a'" in f"{caught.value} {caught.value.__cause__}"


def test_unknown_kinds_and_fields_in_json_are_refused() -> None:
    with pytest.raises(VariableError, match=r"Unknown variable kind 'flaot'\. Did you mean 'float'"):
        Variable.from_json({"kind": "flaot", "low": 0, "high": 1})
    with pytest.raises(VariableError, match=r"does not fit its constructor.*'lo'"):
        Variable.from_json({"kind": "float", "lo": 0, "high": 1})
    with pytest.raises(VariableError, match="an object with a 'kind'"):
        Variable.from_json([1])


def test_equal_variables_are_equal_and_hash_alike() -> None:
    assert Float(0, 1) == Float(0.0, 1.0)
    assert hash(Float(0, 1)) == hash(copy.deepcopy(Float(0, 1)))
    assert Float(0, 1) != Float(0, 1, log=False, default=0.1)


def test_conditions_on_other_variables_stay_the_same_through_json() -> None:
    variable = Choice(
        ["a", "b"], when={"model": ["x", "y"]}, requires={"tools": True}, conflicts=[V("n") > 3, {"m": 1}]
    )
    again = Variable.from_json(variable.named("it").to_json())
    assert again == variable.named("it")
    assert (again.when, len(again.requires), len(again.conflicts)) == (V("model").is_in(["x", "y"]), 1, 2)
    assert set(Choice(["a"]).to_json()) == {"kind", "name", "options", "default"}


def test_a_variable_without_conditions_keeps_the_json_it_always_had() -> None:
    plain = {"kind": "float", "name": None, "low": 0.0, "high": 1.0, "default": 0.5, "log": False, "step": None}
    assert Float(0, 1).to_json() == plain
    assert Int(0, 4).to_json() == {"kind": "int", "name": None, "low": 0, "high": 4, "default": 2, "log": False}
