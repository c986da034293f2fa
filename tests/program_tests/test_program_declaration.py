from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any, Literal

import pytest

from dspex_coordination.variables import Choice, Demos, Float
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ConfigurationError, ProgramError, UsageError
from dspex_ray.example import make_example
from dspex_ray.programs.program import Program
from dspex_ray.schema import Probability, Schema, field


class Text(Schema):
    text: str


class Tuned(Program):
    class Input(Schema):
        text: str
        warmth: Probability = field(0.7, variable=True)

    Output = Text
    style = Choice(["short", "long"])

    async def predict(self, input: Input) -> Text:  # noqa: A002 - the public name
        return Text(text=f"{input.text} {self.style} {input.warmth}")


def test_a_program_without_an_input_or_output_says_what_to_write() -> None:
    with pytest.raises(ProgramError, match=r"NoInput has no Input; write in it:\n    class Input\(Schema\)"):

        class NoInput(Program):
            Output = Text

    with pytest.raises(ProgramError, match="NoOutput has no Output"):

        class NoOutput(Program):
            Input = Text

            async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
                return input


def test_an_input_that_is_no_schema_is_refused() -> None:
    with pytest.raises(ProgramError, match=r"Odd.Input is <class 'dict'>, not a Schema"):

        class Odd(Program):
            Input = dict  # type: ignore[assignment]
            Output = Text


def test_a_schema_without_fields_is_refused() -> None:
    with pytest.raises(ProgramError, match=r"Empty.Input has no field"):

        class Empty(Program):
            class Input(Schema):
                pass

            Output = Text


def test_a_predict_that_is_not_async_is_refused() -> None:
    with pytest.raises(ProgramError, match="must be `async def predict"):

        class Plain(Program):
            Input = Text
            Output = Text

            def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
                return input


def test_a_variable_cannot_take_a_name_of_the_program() -> None:
    with pytest.raises(ProgramError, match="'state' is a name that Program itself uses"):

        class Clash(Program):
            Input = Text
            Output = Text
            state = Float(0, 1)  # type: ignore[assignment]


def test_an_output_field_cannot_be_tuned() -> None:
    class Warm(Schema):
        warmth: Probability = field(0.5, variable=True)

    with pytest.raises(ProgramError, match=r"Cold.Output.warmth cannot be tuned"):

        class Cold(Program):
            Input = Text
            Output = Warm


def test_two_demos_need_one_called_demos_for_the_default_call() -> None:
    with pytest.raises(ProgramError, match="declares several Demos"):

        class Two(Program):
            Input = Text
            Output = Text
            one = Demos()
            other = Demos()


def test_the_base_class_itself_cannot_be_made() -> None:
    with pytest.raises(ProgramError, match="is to be subclassed"):
        Program()


def test_the_space_holds_class_variables_inherited_ones_and_tunable_fields() -> None:
    class Further(Tuned):
        extra = Float(0, 1, default=0.5)

    assert Further.space().names == ("style", "extra", "input.warmth")
    assert Further().values == {"style": "short", "extra": 0.5, "input.warmth": 0.7}


def test_a_variable_fixed_by_a_subclass_leaves_the_space() -> None:
    class Fixed(Tuned):
        style = "long"

    assert Fixed.space().names == ("input.warmth",)
    assert Fixed().style == "long"


def test_the_instruction_is_the_docstring_or_a_plain_sentence(route: type[Program]) -> None:
    assert route().instruction == "Route a message to its intent."
    assert Tuned().instruction == "Given text, warmth, answer with text."


def test_with_values_gives_a_copy_and_leaves_the_rest(route: type[Program]) -> None:
    first = route().with_lm("embedded/nearest")
    second = first.with_values({"temperature": 1.0})
    assert (first.values["temperature"], second.values["temperature"]) == (0.2, 1.0)
    assert second.values["max_tokens"] == 50
    assert second.temperature == 1.0  # type: ignore[attr-defined]
    assert second.lm_name == "embedded/nearest"


def test_all_wrong_values_are_reported_at_once(route: type[Program]) -> None:
    with pytest.raises(ProgramError) as caught:
        route().with_values({"temperature": 9, "max_tokens": "x", "temprature": 1})
    assert all(name in str(caught.value) for name in ("temperature: 9", "max_tokens", "'temperature'?"))


def test_a_subclass_need_not_call_the_base_init() -> None:
    class WithInit(Tuned):
        def __init__(self, name: str) -> None:
            self.own = name

    made = WithInit("x").with_values({"style": "long"})
    assert (made.own, made.style) == ("x", "long")


def test_tuned_defaults_fill_absent_input_fields() -> None:
    program = Tuned().with_values({"input.warmth": 0.1})
    assert program.run(text="a").text == "a short 0.1"
    assert program.run(text="a", warmth=0.9).text == "a short 0.9"


def test_the_state_is_json_and_makes_the_same_program() -> None:
    pool = DemoPool([make_example({"text": "x"}, {"text": "y"})])
    program = Tuned().with_values({"style": "long"}).with_demo_pool(pool).with_lm("embedded/nearest")
    state = json.loads(json.dumps(program.state()))
    again = Tuned.from_state(state)
    assert again.state() == program.state()
    assert state["program"].endswith("test_program_declaration:Tuned")
    assert again.demo_pool.examples == pool.examples


def test_a_state_of_another_program_is_refused(route: type[Program]) -> None:
    with pytest.raises(ProgramError, match=r"not of .*:RouteProgram"):
        route.from_state(Tuned().state())
    with pytest.raises(ProgramError, match="state is an object with"):
        route.from_state({"values": 3})
    with pytest.raises(ProgramError, match="no such variable"):
        Tuned.from_state({**Tuned().state(), "values": {"old": 1}})


def test_a_program_pickles_with_values_pool_and_model_name(route: type[Program]) -> None:
    pool = DemoPool([make_example({"message": "x"}, {"intent": "cash"})])
    program = route().with_values({"temperature": 1.0}).with_demo_pool(pool).with_lm("embedded/nearest")
    program.with_values({"demos": {"select": "nearest", "k": 1}}).run(message="x")
    again = pickle.loads(pickle.dumps(program))
    assert again.state() == program.state()
    assert again.run(message="which card") == program.run(message="which card")


def test_run_within_a_loop_says_to_await() -> None:
    async def inside() -> None:
        Tuned().run(text="a")

    with pytest.raises(UsageError, match=r"use `await program\(\.\.\.\)`"):
        asyncio.run(inside())


def test_a_predict_that_returns_something_else_is_the_programs_fault() -> None:
    class Wrong(Program):
        Input = Text

        class Output(Schema):
            label: Literal["a"]

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            return {"label": "a"}

    with pytest.raises(ProgramError, match=r"must return Wrong.Output\(...\), got \{'label': 'a'\}"):
        Wrong().run(text="x")


def test_a_model_must_be_a_name_or_a_client() -> None:
    with pytest.raises(ConfigurationError, match="lm must be a model name"):
        Tuned().with_lm(3)  # type: ignore[arg-type]
