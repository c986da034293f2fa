"""Module, Composite and Text: what they hold, what they refuse, what their JSON holds."""

from __future__ import annotations

import pickle
import random
import sys
from typing import Any

import pytest
from variable_functions import Half, Plain, Summary, broken, is_even, price

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import ABSENT, V, where
from dspex_coordination.errors import SpaceError, VariableError
from dspex_coordination.space import Space
from dspex_coordination.variables import Bool, Choice, Composite, Demos, Float, Int, Module, Text, Variable


def rebuilt(variable: Variable[Any]) -> Variable[Any]:
    text = canonical_json(variable.to_json())
    again = Variable.from_json(variable.to_json())
    assert canonical_json(again.to_json()) == text
    assert pickle.loads(pickle.dumps(variable)) == variable
    return again


def test_a_module_gives_the_implementation_of_its_name() -> None:
    variable = Module({"plain": Plain, "later": "variable_functions:Plain"}, interface=Summary).named("summary")
    assert variable.resolve("plain") is Plain
    assert variable.resolve("later") is Plain
    assert rebuilt(variable) == variable
    assert variable.to_json()["options"] == {
        "plain": "variable_functions:Plain",
        "later": "variable_functions:Plain",
    }
    assert (variable.scale, variable.default, variable.cardinality) == ("nominal", "plain", 2)
    with pytest.raises(VariableError, match="summary: 'os' is not allowed; give one of 'plain', 'later'"):
        variable.resolve("os")


def test_bug_the_interface_of_a_module_is_checked_at_definition_and_when_resolved() -> None:
    right = "Half \\('half'\\) has no method rank; the interface asks for shorten, rank"
    with pytest.raises(VariableError, match=right):
        Module({"plain": Plain, "half": Half}, interface=Summary)
    later = Module({"half": "variable_functions:Half"}, interface=["shorten", "rank"])
    with pytest.raises(VariableError, match=right):
        later.resolve("half")


def test_the_json_of_a_module_imports_nothing_before_it_is_resolved() -> None:
    sys.modules.pop("this", None)
    variable = Variable.from_json({"kind": "module", "options": {"zen": "this:s"}})
    assert "this" not in sys.modules
    assert isinstance(variable, Module)
    with pytest.raises(VariableError, match="Module: 'zen': 'this:nothing' cannot be imported here"):
        Module({"zen": "this:nothing"}).resolve("zen")


def test_bug_a_compatibility_matrix_is_kept_by_every_draw_of_a_space() -> None:
    module = Module({"plain": Plain, "half": Half}, compatible={"half": {"model": ["a", "b"]}})
    space = Space({"model": Choice(["a", "b", "c"]), "summary": module})
    drawn = {(c.values["summary"], c.values["model"]) for c in (space.sample(random.Random(i)) for i in range(200))}
    assert drawn == {("plain", "a"), ("plain", "b"), ("plain", "c"), ("half", "a"), ("half", "b")}
    with pytest.raises(SpaceError, match=r"summary 'half' is compatible only with model in \['a', 'b'\]"):
        space.validate({"model": "c", "summary": "half"})
    assert Space.from_json(space.to_json()) == space


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Module({}), "options must map names to implementations"),
        (lambda: Module(["a"]), "options must map names to implementations"),  # type: ignore[arg-type]
        (lambda: Module({"a": "os"}), r"options\['a'\]: 'os' is no import path"),
        (lambda: Module({"a": 3}), r"options\['a'\]: expected a function, a class or an import path, got 3"),
        (lambda: Module({"a": Plain}, interface="rank"), "interface must be a Protocol or a list"),
        (lambda: Module({"a": Plain}, interface=["not a name"]), "interface lists method names"),
        (lambda: Module({"a": Plain}, default="b"), "default is outside the domain"),
        (lambda: Module({"a": Plain}, compatible={"b": {"x": 1}}), "compatible names no option: 'b'. Known: a"),
        (lambda: Module({"a": Plain}, compatible={"a": 3}), r"compatible\['a'\]: A condition is"),  # type: ignore[dict-item]
        (lambda: Composite(None), "compute is missing; give an expression"),  # type: ignore[arg-type]
        (lambda: Composite(3), "expected a function, a class or an import path, got 3"),  # type: ignore[arg-type]
        (lambda: Composite(price), "depends_on must list the names"),
        (lambda: Composite(price, depends_on="calls"), "depends_on must list the names"),
        (lambda: Composite(price, depends_on=["a", "a"]), "depends_on names a variable twice"),
        (lambda: Composite(V("a") + 1, depends_on=["b"]), r"the expression depends on \['a'\], not on \['b'\]"),
        (lambda: Composite({"op": "no", "args": []}), "Composite: compute: Unknown operator 'no'"),
        (lambda: Composite(V("a"), domain=3), r"domain must be a variable such as Float\(0, 1\), got 3"),  # type: ignore[arg-type]
        (lambda: Composite(V("a"), domain=Demos()), "domain must be a variable"),
        (lambda: Composite(V("a"), domain=Bool(when={"b": 1})), "domain has conditions of its own"),
        (lambda: Composite(V("a"), validate=3), "validate: expected a function"),  # type: ignore[arg-type]
        (lambda: Text(3), "Text: 3 is not allowed; give a text"),  # type: ignore[arg-type]
        (lambda: Text("abc", max_chars=2), "3 characters are more than max_chars=2"),
        (lambda: Text("a", pool=["abc"], max_chars=2), "3 characters are more than max_chars=2"),
        (lambda: Text("a", pool="abc"), "pool must be a list of texts"),
        (lambda: Text("a", max_chars=0), "max_chars must be at least 1"),
    ],
)
def test_a_bad_definition_names_the_field_and_what_is_right(make: Any, message: str) -> None:
    with pytest.raises(VariableError, match=message):
        make()


def test_a_composite_computes_by_expression_and_by_function_alike() -> None:
    values = {"calls": 3, "rate": 0.5}
    expression = Composite(V("calls") * V("rate"))
    function = Composite(price, depends_on=["calls", "rate"])
    assert expression.compute(values) == function.compute(values) == 1.5
    assert expression.dependencies == function.dependencies == ("calls", "rate")
    for variable in (expression, function, Composite("variable_functions:price", depends_on=["calls", "rate"])):
        assert isinstance(again := rebuilt(variable), Composite)
        assert again == variable
        assert again.compute(values) == 1.5
    assert function.to_json()["compute"] == "variable_functions:price"


def test_a_lambda_computes_but_is_refused_in_json() -> None:
    variable = Composite(lambda calls: calls + 1, depends_on=["calls"]).named("next")
    assert variable.compute({"calls": 2}) == 3
    with pytest.raises(VariableError, match=r"next: compute: .*give a function or class of a module's top level"):
        variable.to_json()


def test_bug_the_validate_function_and_domain_of_a_composite_are_honoured() -> None:
    even = Composite(V("n") + 1, validate=is_even).named("even")
    assert even.compute({"n": 1}) == 2
    assert rebuilt(even) == even
    with pytest.raises(VariableError, match="even: 3 is not allowed; 'variable_functions:is_even' refuses it"):
        even.compute({"n": 2})
    share = Composite(V("n") / 4, domain=Float(0, 1)).named("share")
    assert share.compute({"n": 1}) == 0.25
    assert rebuilt(share) == share
    with pytest.raises(VariableError, match=r"share: 1.25 is not allowed; give a number from 0.0 to 1.0"):
        share.compute({"n": 5})


def test_a_composite_that_fails_says_which_and_for_what() -> None:
    with pytest.raises(
        VariableError, match=r"c: compute 'variable_functions:broken' failed for \(2\): RuntimeError: no"
    ):
        Composite(broken, depends_on=["n"]).named("c").compute({"n": 2})
    with pytest.raises(VariableError, match="c: a / b cannot be computed for a=1, b=0"):
        Composite(V("a") / V("b")).named("c").compute({"a": 1, "b": 0})
    with pytest.raises(VariableError, match=r"c: .* is no JSON value"):
        Composite(lambda n: {n}, depends_on=["n"]).named("c").compute({"n": 2})


def test_an_absent_value_is_none_to_a_function_and_makes_an_expression_none() -> None:
    assert Composite(V("a") + 1).compute({"a": ABSENT}) is None
    assert Composite(lambda a: a is None, depends_on=["a"]).compute({"a": ABSENT}) is True


def test_nobody_sets_a_composite() -> None:
    variable = Composite(V("a")).named("c")
    for use in (variable.grid, lambda n: variable.mutate(n, random.Random(0), 0.5), lambda _: variable.sample(random)):  # type: ignore[arg-type]
        with pytest.raises(VariableError, match="c: computed from a; nobody sets it"):
            use(1)
    with pytest.raises(VariableError, match="a computed variable has no axis from 0 to 1"):
        variable.at(0.5)
    assert (variable.scale, variable.cardinality) == ("computed", 1)


def test_bug_a_composite_of_a_composite_sees_the_fresh_value() -> None:
    space = Space({"twice": Composite(V("once") * 2), "once": Composite(V("n") + 1), "n": Int(0, 9)})
    assert space.complete({"n": 4}).values == {"n": 4, "once": 5, "twice": 10}


def test_a_conditional_composite_is_none_while_inactive() -> None:
    space = Space(
        {"on": Bool(), "n": Int(0, 9, default=3), "c": Composite(where(V("on"), V("n"), 0), when={"on": True})}
    )
    assert space.default().values["c"] is None
    assert space.complete({"on": True}).values["c"] == 3


def test_bug_a_text_without_a_pool_is_open_and_draws_its_default() -> None:
    variable = Text("Answer.", max_chars=20)
    assert variable.validate("Any text at all.") == "Any text at all."
    assert variable.sample(random.Random(1)) == "Answer."
    assert (variable.cardinality, variable.grid(5)) == (None, ["Answer."])
    assert (variable.unit("Other."), variable.mutate("Other.", random.Random(1), 0.5)) == (0.5, "Answer.")
    with pytest.raises(VariableError, match="more than max_chars=20"):
        variable.validate("x" * 21)


def test_a_pool_of_texts_can_be_given_and_grown_but_is_no_part_of_the_definition() -> None:
    variable = Text("a", pool=["b", "a"]).named("t")
    grown = variable.with_pool(["c", "b"]).with_pool(["d"])
    assert grown.options == ("a", "b", "c", "d")
    assert variable.options == ("a", "b")
    assert grown.to_json() == variable.to_json()
    assert rebuilt(variable) == variable
    assert {grown.sample(random.Random(seed)) for seed in range(60)} == {"a", "b", "c", "d"}
    assert grown.mutate("d", random.Random(0), 0.2) in {"a", "b", "c"}
    with pytest.raises(VariableError, match="t: 'c' is not allowed; give one of 'a', 'b'"):
        variable.validate("c")
    with pytest.raises(VariableError, match="t: 3 is not allowed; give a text"):
        variable.with_pool([3])  # type: ignore[list-item]


def test_a_text_that_gets_its_first_pool_draws_from_it() -> None:
    bound = Text("a").with_pool(["b"])
    assert (bound.cardinality, bound.grid(9), bound.pool) == (2, ["a", "b"], ("b",))
