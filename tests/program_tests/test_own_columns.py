from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pytest

from dspex_ray.data import load_data
from dspex_ray.errors import DataError, ProgramError
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema


class Base(Program):
    class Input(Schema):
        message: str

    class Output(Schema):
        intent: Literal["cash", "card"]


class Mapped(Base):
    columns: ClassVar[Mapping[str, str]] = {"message": "text", "intent": "category"}


USUAL = [{"text": "hi", "category": "cash"}]


def first(rows: list[dict[str, str]], program: type[Program], **options: Mapping[str, str]) -> tuple[str, str]:
    example = load_data(rows, program, **options).examples[0]
    return example.input["message"], example.output["intent"]


def test_a_programs_own_columns_are_read_without_a_mapping() -> None:
    assert first(USUAL, Mapped) == ("hi", "cash")
    with pytest.raises(DataError, match="no column for the fields 'message', 'intent'"):
        load_data(USUAL, Base)


def test_a_column_of_the_fields_own_name_goes_before_the_programs() -> None:
    assert first([{"message": "own", "text": "other", "category": "card"}], Mapped) == ("own", "card")
    assert first([{"message": "own", "intent": "card"}], Mapped) == ("own", "card")


def test_an_explicit_mapping_goes_before_the_programs_columns() -> None:
    rows = [{"text": "a", "body": "b", "category": "cash"}]
    assert first(rows, Mapped, mapping={"message": "body"}) == ("b", "cash")


def test_a_missing_column_is_told_by_the_fields_name() -> None:
    with pytest.raises(DataError, match=r"no column for the field 'intent'.*--map intent=label"):
        load_data([{"text": "a", "label": "cash"}], Mapped)


def test_a_subclass_inherits_the_columns_and_may_replace_them() -> None:
    class Inherits(Mapped):
        pass

    class Replaces(Mapped):
        columns: ClassVar[Mapping[str, str]] = {"message": "body"}

    assert first(USUAL, Inherits) == ("hi", "cash")
    assert first([{"body": "b", "intent": "card"}], Replaces) == ("b", "card")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mesage": "text"}, r"Wrong\.columns: there is no field 'mesage' \(did you mean 'message'\?\)"),
        ({"message": 3}, "write it as {'field': 'column'}"),
        (["message"], "write it as {'field': 'column'}"),
    ],
)
def test_columns_that_cannot_be_are_refused_when_the_class_is_declared(given: object, said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        type("Wrong", (Base,), {"columns": given})
