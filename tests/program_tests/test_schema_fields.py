from __future__ import annotations

import pickle
from typing import Literal

import pytest

from dspex_coordination.variables import Bool, Choice, Float, Int
from dspex_ray.errors import InputError, ProgramError
from dspex_ray.schema import Probability, Schema, SchemaMeta, field, literal_fields, tunable_fields


class Line(Schema):
    price: float
    count: int = 1


class Order(Schema):
    intent: Literal["card_arrival", "cash_withdrawal"]
    share: Probability = 1.0
    number: int = 0
    urgent: bool = False
    lines: list[Line] = field(default_factory=list)


def _problems(values: dict[str, object]) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        Order.parse(values)
    return dict(caught.value.problems)


def _declare(annotations: dict[str, object] | None = None, **namespace: object) -> type[Schema]:
    made: type[Schema] = SchemaMeta(
        "Bad", (Schema,), {"__module__": __name__, "__annotations__": annotations or {}, **namespace}
    )
    return made


def test_every_bad_field_is_reported_at_once_with_its_path() -> None:
    found = _problems({"share": 2, "number": "x", "lines": [{"price": 1}, {"count": "?"}], "colour": 1})
    assert set(found) == {"intent", "share", "number", "lines[1].price", "lines[1].count", "colour"}
    assert found["intent"] == "required, but missing"


def test_a_wrong_label_is_shown_with_the_labels_and_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        Order.parse({"intent": "card_arival"})
    assert str(caught.value) == (
        "intent: 'card_arival' is not one of 'card_arrival', 'cash_withdrawal' (did you mean 'card_arrival'?)."
    )


def test_an_unknown_field_is_offered_the_nearest_one() -> None:
    assert "did you mean 'number'?" in _problems({"intent": "card_arrival", "numbr": 3})["numbr"]


def test_text_that_spells_a_number_exactly_becomes_that_number() -> None:
    made = Order.parse({"intent": "card_arrival", "number": "3", "share": "0.25"})
    assert made.number == 3
    assert type(made.number) is int
    assert made.share == 0.25


@pytest.mark.parametrize(
    ("name", "value"),
    [("number", True), ("share", True), ("urgent", 1), ("urgent", "1"), ("number", 2.5), ("share", float("nan"))],
)
def test_a_value_of_another_kind_is_never_converted(name: str, value: object) -> None:
    assert list(_problems({"intent": "card_arrival", name: value})) == [name]


def test_a_nested_truth_value_is_no_number() -> None:
    assert list(_problems({"intent": "card_arrival", "lines": [{"price": True}]})) == ["lines[0].price"]


def test_what_is_no_object_is_refused_with_the_fields_wanted() -> None:
    with pytest.raises(InputError, match=r"Expected an object with 'intent', 'share'.*got list"):
        Order.parse([1])  # type: ignore[arg-type]


def test_a_schema_is_frozen_and_can_be_a_key() -> None:
    made = Line.parse({"price": 1.5})
    assert {made: 1}[Line(price=1.5)] == 1
    with pytest.raises(ValueError, match="frozen"):
        made.price = 2.0  # type: ignore[misc]


def test_an_input_error_survives_pickling_with_its_problems() -> None:
    with pytest.raises(InputError) as caught:
        Order.parse({})
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)


def test_a_field_without_a_type_is_named() -> None:
    with pytest.raises(ProgramError, match="'count' has no type"):
        _declare(count=3)
    with pytest.raises(ProgramError, match="'share' has no type"):

        class Bad(Schema):
            share = field(0.5, variable=True, ge=0, le=1)  # type: ignore[pydantic-field]


def test_a_field_cannot_take_the_name_of_the_schemas_own_method() -> None:
    with pytest.raises(ProgramError, match="cannot be called 'parse'"):

        class Bad(Schema):
            parse: str  # type: ignore[assignment]


def test_tunable_fields_become_variables_of_their_type() -> None:
    class Tuned(Schema):
        text: str
        warmth: Probability = field(0.7, variable=True)
        steps: int = field(3, variable=True, ge=1, le=9)
        style: Literal["short", "long"] = field("long", variable=True)
        strict: bool = field(True, variable=True)

    found = tunable_fields(Tuned)
    assert {name: type(variable) for name, variable in found.items()} == {
        "warmth": Float,
        "steps": Int,
        "style": Choice,
        "strict": Bool,
    }
    assert {name: variable.default for name, variable in found.items()} == {
        "warmth": 0.7,
        "steps": 3,
        "style": "long",
        "strict": True,
    }
    warmth = found["warmth"]
    assert isinstance(warmth, Float)
    assert (warmth.low, warmth.high, warmth.name) == (0.0, 1.0, "warmth")


@pytest.mark.parametrize(
    ("annotation", "made", "message"),
    [
        (str, field("x", variable=True), "Bad.it: variable=True works for"),
        (float, field(0.5, variable=True, ge=0), "Bad.it: a tunable number needs both bounds"),
        (float, field(variable=True, ge=0, le=1), "Bad.it: a tunable field needs a default"),
        (float, field(5.0, variable=True, ge=0, le=1), "Bad.it: .*default is outside the domain"),
    ],
)
def test_a_field_that_cannot_be_tuned_is_named_with_what_is_missing(
    annotation: object, made: object, message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        _declare({"it": annotation}, it=made)


def test_types_of_the_enclosing_function_and_class_are_found() -> None:
    tone = Literal["warm", "cold"]

    class Outer:
        class Item(Schema):
            n: int

        class Whole(Schema):
            items: list[Item]  # type: ignore[name-defined]  # noqa: F821
            how: tone = "warm"

    assert Outer.Whole.parse({"items": [{"n": 1}], "how": "cold"}).items == [Outer.Item(n=1)]
    assert literal_fields(Outer.Whole) == ("how",)
