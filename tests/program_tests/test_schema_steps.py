from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import pytest

from dspex_ray.errors import InputError, ProgramError
from dspex_ray.schema import Embedding, Faults, Schema, check, field, transform, validation


class Booking(Schema):
    code: str = field(min_length=2)
    nights: int = field(ge=1)
    price: float = 0.0
    first: int = 0
    last: int = 9

    @transform("code")
    @staticmethod
    def trimmed(value: str) -> str:
        value = value.strip().upper()
        if not value:
            raise ValueError("blank")
        return value

    @transform("nights", "first")
    @classmethod
    def doubled(cls, value: int) -> int:
        return value * 2

    @validation
    def cheap(self) -> None:
        if self.price > 100:
            raise ValueError(f"{self.price} is too dear")

    @validation(at="last")
    def ordered(self) -> None:
        if self.last < self.first:
            raise ValueError("ends before it begins")


def _problems(values: dict[str, Any], schema: type[Schema] = Booking) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        schema.parse(values)
    return dict(caught.value.problems)


def test_a_field_is_checked_then_transformed_then_validated() -> None:
    made = Booking.parse({"code": " ab ", "nights": 1, "first": 4, "last": 8})
    assert (made.code, made.nights, made.first) == ("AB", 2, 8)
    assert _problems({"code": "ab", "nights": 1, "first": 5}) == {"last": "ends before it begins"}


def test_bug_only_first_failure_returned() -> None:
    found = _problems({"code": "  ", "nights": 0, "price": "x", "frist": 1})
    assert list(found) == ["code", "nights", "price", "frist"]
    assert found["code"] == "blank, got '  '"
    both = _problems({"code": "ab", "nights": 1, "price": 101, "first": 5})
    assert both == {"": "101.0 is too dear", "last": "ends before it begins"}


def test_a_value_of_another_kind_is_told_together_with_the_other_faults() -> None:
    found = _problems({"code": "  ", "nights": True, "last": "x"})
    assert list(found) == ["code", "nights", "last"]
    assert found["nights"] == "True is not exactly a whole number"


def test_text_that_spells_a_number_is_compared_with_what_was_given_not_with_what_a_transform_made() -> None:
    made = Booking.parse({"code": "ab", "nights": 3, "price": "2.5"})
    assert (made.nights, made.price) == (6, 2.5)


def test_validations_run_for_a_direct_call_too_and_in_a_subclass() -> None:
    class Long(Booking):
        @validation
        def long(self) -> None:
            if self.nights < 10:
                raise ValueError("too short")

    assert set(_problems({"code": "ab", "nights": 1, "price": 101}, Long)) == {""}
    found = check(Long, {"code": "ab", "nights": 1, "price": 101, "first": 5})
    assert isinstance(found, Faults)
    assert found == [("last", "ends before it begins"), ("", "101.0 is too dear; or: too short")]
    with pytest.raises(ValueError, match="too short"):
        Long(code="ab", nights=1)


def test_a_nested_schema_tells_its_validations_under_its_path() -> None:
    class Trip(Schema):
        bookings: list[Booking]

    found = _problems({"bookings": [{"code": "ab", "nights": 1, "first": 5}, {"code": " ", "nights": "2"}]}, Trip)
    assert list(found) == ["bookings[0].last", "bookings[1].code"]


def test_a_validation_that_answers_instead_of_raising_is_an_error() -> None:
    class Wrong(Schema):
        n: int

        @validation
        def small(self) -> bool:
            return self.n < 3

    with pytest.raises(ProgramError, match=r"Wrong\.small: a validation raises ValueError or returns nothing"):
        Wrong.parse({"n": 5})


def test_a_transform_of_a_field_that_is_not_there_is_an_error_of_the_class() -> None:
    with pytest.raises(ProgramError, match="Schema Wrong: 'upper' is for a field that"):

        class Wrong(Schema):
            code: str

            @transform("cod")
            @staticmethod
            def upper(value: str) -> str:
                return value.upper()

    with pytest.raises(ProgramError, match=r"'late' tells its faults at 'lst', no field \(did you mean 'last'\?\)"):

        class Other(Schema):
            last: int

            @validation(at="lst")
            def late(self) -> None: ...

    with pytest.raises(ProgramError, match="Write @transform"):
        transform()


def test_a_schema_of_a_function_keeps_its_steps_when_it_is_pickled() -> None:
    class Local(Booking):
        @transform("price")
        @staticmethod
        def halved(value: float) -> float:
            return value / 2

    again = pickle.loads(cloudpickle.dumps(Local))
    assert again.parse({"code": "ab", "nights": 1, "price": 8.0}).price == 4.0
    assert _problems({"code": "ab", "nights": 1, "first": 5}, again) == {"last": "ends before it begins"}


def test_alternatives_of_a_union_are_told_under_the_path_of_the_value() -> None:
    class Line(Schema):
        price: float

    class Order(Schema):
        number: int | str
        what: Line | list[Line]
        vector: Embedding | str = ""

    found = _problems({"number": [1], "what": [{"price": "x"}], "vector": []}, Order)
    assert set(found) == {"number", "what", "what[0].price", "vector"}
    assert found["vector"].startswith("expected some numbers, got 0; or: ")
    assert "valid integer, got [1]; or: Input should be a valid string" in found["number"]
