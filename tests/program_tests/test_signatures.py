"""Signatures as text: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import string
from contextlib import suppress
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination.variables import Float
from dspex_ray.errors import InputError, ProgramError
from dspex_ray.modules import ChainOfThought, Predict, Signature
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema


def fields(schema: type[Schema]) -> dict[str, Any]:
    return {name: info.annotation for name, info in schema.model_fields.items()}


def test_a_text_names_fields_and_types() -> None:
    made = Signature.of(
        "q, k: int = 3, notes?: list[str] -> label: Literal['a', 'b, c'], odds: dict[str, float], x: str | None"
    )
    assert fields(made.input) == {"q": str, "k": int, "notes": list[str] | None}
    assert fields(made.output) == {"label": Literal["a", "b, c"], "odds": dict[str, float], "x": str | None}
    assert made.input.parse({"q": "hi"}).model_dump() == {"q": "hi", "k": 3, "notes": None}


def test_types_take_the_options_of_a_field() -> None:
    made = Signature.of("text -> score: float(ge=0, le=10), vector: embedding(dim=2), sure: probability")
    assert made.output.parse({"score": 10, "vector": [1, 2], "sure": 1}).score == 10.0
    with pytest.raises(InputError, match=r"score.*\n?.*") as caught:
        made.output.parse({"score": 11, "vector": [1], "sure": 2})
    assert [path for path, _ in caught.value.problems] == ["score", "vector", "sure"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("question", "one arrow: 'inputs -> outputs'"),
        ("a -> b -> c", "one arrow"),
        ("-> a", "has no input"),
        ("a ->", "has no output"),
        ("a,, b -> c", "a comma too many"),
        ("a -> a", "'a' as input and as output"),
        ("a, a -> b", "names the field 'a' twice"),
        ("a: flaot -> b", "did you mean|Did you mean 'float'"),
        ("a: list[ -> b", "not closed"),
        ("a: 'x -> b", "not closed"),
        ("1a -> b", "'1a' is no field"),
        ("a b -> c", "'a b' is no field"),
        ("a: -> b", "is no type"),
        ("a: str; x = 1 -> b", "is no type"),
        ("a -> b: open('x')", "is no type here"),
        ("a -> b: float(ge=low)", "'low' is no plain value"),
        ("a -> b: embedding(dims=3)", "no option 'dims'"),
        ("a -> b: int = 'x'", "a default breaks its own field"),
        ("model_dump -> b", "model_dump"),
    ],
)
def test_a_text_that_is_no_signature_is_refused(text: str, said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        Signature.of(text)


@given(st.text(alphabet=string.ascii_letters + string.digits + " ,:->[]()'\"=?|_.;\n", max_size=60))
def test_any_text_is_a_signature_or_refused_in_words(text: str) -> None:
    with suppress(ProgramError):
        made = Signature.of(text)
        assert made.input.model_fields
        assert made.output.model_fields


def test_a_program_class_gives_schemas_instruction_and_variables(route: type[Program]) -> None:
    made = ChainOfThought(route)
    assert list(made.Output.model_fields) == ["reasoning", "intent", "confidence"]
    assert made.instruction == "Route a message to its intent."
    assert set(made.space().names) == {"demos", "temperature", "max_tokens"}


def test_two_schemas_are_a_signature(route: type[Program]) -> None:
    assert Predict((route.Input, route.Output)).Output is route.Output


@pytest.mark.parametrize("given", [3, None, (1, 2), Schema, Program, ["a -> b"]])
def test_anything_else_is_no_signature(given: Any) -> None:
    with pytest.raises(ProgramError, match=r"A signature is a text|is made around"):
        Predict(given)


def test_a_setting_that_a_module_does_not_have_is_refused_with_the_nearest() -> None:
    with pytest.raises(ProgramError, match=r"setting of Predict 'temprature'.*'temperature'"):
        Predict("a -> b", temprature=0.3)


def test_a_variable_of_any_name_is_a_setting() -> None:
    assert Predict("a -> b", warmth=Float(0, 1, default=0.5)).values["warmth"] == 0.5


def test_settings_are_given_where_the_module_is_made_not_to_a_class_with_schemas() -> None:
    class Own(ChainOfThought):
        class Input(Schema):
            a: str

        class Output(Schema):
            b: str

    with pytest.raises(ProgramError, match=r"call it as Own\(\)"):
        Own(temperature=0.3)
    assert list(Own().Output.model_fields) == ["reasoning", "b"]


def test_a_module_without_a_docstring_has_a_plain_sentence_as_instruction() -> None:
    assert Predict("question, context -> answer").instruction == "Given question, context, answer with answer."


def test_an_instruction_that_is_no_text_is_refused() -> None:
    with pytest.raises(ProgramError, match="instruction is a text or a Text variable, got 3"):
        Predict("a -> b", instruction=3)


def test_the_reasoning_comes_first_and_is_asked_for(scripted: Any) -> None:
    lm = scripted('{"reasoning": "2 and 2", "answer": 4}')
    output = ChainOfThought("question -> answer: int").with_lm(lm).run(question="2+2?")
    assert (output.reasoning, output.answer) == ("2 and 2", 4)
    assert lm.requests[0].messages[0].content.index("- reasoning") < lm.requests[0].messages[0].content.index(
        "- answer"
    )


def test_a_reasoning_that_is_declared_is_left_where_it_stands() -> None:
    assert list(ChainOfThought("q -> answer, reasoning").Output.model_fields) == ["answer", "reasoning"]
