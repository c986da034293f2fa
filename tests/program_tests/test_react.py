"""ReAct over real HTTP: tools are called, what goes wrong is told to the model, and it always comes to an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import cloudpickle
import pytest

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.configuration import configure
from dspex_ray.errors import ConfigurationError, LMContextWindowError, ProgramError
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.modules.predict import Predict
from dspex_ray.modules.react import ReAct
from dspex_ray.modules.trajectory import Trajectory, Turn, shortened, trajectories
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.schema import Schema, Secret
from dspex_ray.testing.model_server import ModelServer
from dspex_ray.tools import tool

BORN = {"Ada Lovelace": 1815, "Alan Turing": 1912, "Grace Hopper": 1906}
Step = Mapping[str, Any]


@tool
def born(name: str) -> int:
    """Look up the year a person was born in."""
    return BORN[name]


async def minus(a: int, b: int) -> int:
    """Subtract b from a."""
    return a - b


def react(around: str, **settings: Any) -> Any:
    return ReAct(around, **settings)


def look_up(step: int, name: str = "Ada Lovelace") -> Step:
    return {"thought": f"I need {name} ({step}).", "tool": "born", "arguments": {"name": name}}


FINISHED = {"thought": "I know.", "tool": "finish"}


def is_step(messages: Sequence[Mapping[str, Any]]) -> bool:
    return '"thought"' in messages[0]["content"]


def shown_turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(messages[-1]["content"].partition("trajectory: ")[2])
    return found


def model(choose: Callable[[list[dict[str, Any]]], Step], answer: Callable[[list[dict[str, Any]]], Any]) -> Any:
    """Return a rule that reads the trajectory it is shown, as a model does."""

    def rule(messages: Sequence[Mapping[str, Any]], _: Mapping[str, Any]) -> str:
        turns = shown_turns(messages)
        return json.dumps(choose(turns) if is_step(messages) else {"answer": answer(turns)})

    return rule


@contextmanager
def served(rule: Any, **options: Any) -> Iterator[tuple[ModelServer, OpenAICompatibleLM]]:
    with ModelServer(answer=rule, **options) as server:
        yield server, OpenAICompatibleLM("vllm/m", wire_model="m", base_url=server.base_url, api_key=None, price=None)


def ran(program: Any, lm: OpenAICompatibleLM, **fields: Any) -> Any:
    async def once() -> Any:
        try:
            return await program.with_lm(lm)(**fields)
        finally:
            await lm.aclose()

    return asyncio.run(once())


def difference(turns: list[dict[str, Any]]) -> Step:
    if len(turns) < 2:
        return look_up(len(turns), list(BORN)[len(turns)])
    if len(turns) == 2:
        years = [int(turn["observation"]) for turn in turns]
        return {"thought": "Now subtract.", "tool": "minus", "arguments": {"a": years[1], "b": years[0]}}
    return FINISHED


def last(turns: list[dict[str, Any]]) -> str:
    return next((str(turn["observation"]) for turn in reversed(turns) if turn["observation"]), "unknown")


def asked(program: Any, rule: Any, question: str = "How many years?", **options: Any) -> tuple[Any, Trajectory]:
    with served(rule, **options) as (_, lm), trajectories() as heard:
        output = ran(program, lm, question=question)
    return output, heard[-1]


def test_tools_are_called_until_the_model_knows_and_then_it_answers() -> None:
    program = react("question -> answer", tools=[born, minus])
    with served(model(difference, last)) as (server, lm), recording() as log, trajectories() as heard:
        output = ran(program, lm, question="How many years lie between Ada and Alan?")
        assert server.counters()["requests"] == 5
    assert output.answer == "97"
    assert [call.module for call in log.records] == ["step", "step", "step", "step", "answer"]
    assert {call.program for call in log.records} == {program.path}
    (trajectory,) = heard
    assert (trajectory.program, trajectory.place, trajectory.ended) == (program.path, "", "done")
    assert trajectory.turns[2] == Turn(
        thought="Now subtract.", tool="minus", arguments={"a": 1912, "b": 1815}, observation="97"
    )
    assert trajectory.turns[3].tool == "finish"


def test_the_model_is_told_what_the_tools_are_and_what_they_take() -> None:
    program = react("question -> answer", tools=[born, minus])
    told = program.step.instruction
    assert '- born: Look up the year a person was born in. Arguments: {"properties":{"name":{"type":"string"}}' in told
    assert "- minus: Subtract b from a." in told
    assert "born" not in program.answer.instruction


def test_arguments_that_do_not_fit_come_back_as_an_observation() -> None:
    def choose(turns: list[dict[str, Any]]) -> Step:
        bad = {"thought": "?", "tool": "minus", "arguments": {"a": "x", "c": 1}}
        return FINISHED if turns else bad

    with served(model(choose, last)) as (server, lm), trajectories() as heard:
        ran(react("question -> answer", tools=[minus]), lm, question="?")
        assert server.counters()["requests"] == 3
    observation = heard[0].turns[0].observation
    for path in ("a: ", "b: required, but missing", "c: unknown field"):
        assert path in observation


def test_a_tool_that_raises_is_an_observation() -> None:
    output, trajectory = asked(
        react("question -> answer", tools=[born]),
        model(lambda turns: FINISHED if turns else look_up(0, "Nobody"), last),
    )
    assert output.answer == "KeyError: 'Nobody'"
    assert trajectory.turns[0].observation == "KeyError: 'Nobody'"
    assert trajectory.ended == "done"


def test_what_a_tool_lets_pass_ends_the_call_and_the_trajectory_says_so() -> None:
    def closed(name: str) -> str:
        raise ConfigurationError(f"no key for {name}")

    call = {"thought": "?", "tool": "closed", "arguments": {"name": "x"}}
    with trajectories() as heard, pytest.raises(ConfigurationError, match="no key for x"):
        asked(react("question -> answer", tools=[closed]), model(lambda _: call, last))
    assert heard[0].ended == "error"


def test_the_same_call_again_is_made_and_told_to_be_the_same() -> None:
    _, trajectory = asked(
        react("question -> answer", tools=[born]),
        model(lambda turns: look_up(len(turns)) if len(turns) < 2 else FINISHED, last),
    )
    assert [turn.observation for turn in trajectory.turns] == ["1815", "(The same call as in step 1.) 1815", ""]


def test_when_the_steps_are_used_up_it_answers_from_what_it_has() -> None:
    program = react("question -> answer", tools=[born], max_steps=dspex.Int(1, 9, default=3))
    endless = model(lambda turns: look_up(len(turns)), last)
    output, trajectory = asked(program, endless)
    assert (len(trajectory.turns), trajectory.ended) == (3, "bound")
    assert output.answer == "(The same call as in step 2.) 1815"
    _, trajectory = asked(program.with_values({"max_steps": 1}), endless)
    assert len(trajectory.turns) == 1


def test_settings_are_those_of_both_parts_and_each_is_tuned_by_its_path() -> None:
    program = react("question -> answer", tools=[born], temperature=dspex.Float(0, 1, default=0.5), max_tokens=99)
    assert set(program.space().names) == {"step.demos", "answer.demos", "step.temperature", "answer.temperature"}
    bodies = []

    def rule(messages: Any, body: Any) -> str:
        bodies.append((is_step(messages), body["temperature"], body.get("max_tokens")))
        return json.dumps(FINISHED if is_step(messages) else {"answer": "x"})

    asked(program.with_values({"step.temperature": 0.25, "answer.temperature": 0.75}), rule)
    assert bodies == [(True, 0.25, 99), (False, 0.75, 99)]


def test_an_instruction_that_is_a_variable_leaves_the_tools_told() -> None:
    program = react("question -> answer", tools=[born], instruction=dspex.Text("Be exact.", pool=["Be brief."]))
    assert {"step.instruction", "answer.instruction"} <= set(program.space().names)
    systems = []

    def rule(messages: Any, _: Any) -> str:
        systems.append(messages[0]["content"])
        return json.dumps(FINISHED if is_step(messages) else {"answer": "x"})

    asked(program.with_values({"step.instruction": "Be brief."}), rule)
    step, answer = systems
    assert step.startswith("Be brief.")
    assert "- born: Look up the year" in step
    assert answer.startswith("Be exact.")


class Years(ReAct):
    """Answer questions on years."""

    class Input(Schema):
        question: str
        key: Secret = dspex.field(cast("Any", "env:DSPEX_TEST_NO_SUCH_KEY"))

    class Output(Schema):
        answer: int

    tools = [born, minus]  # noqa: RUF012 - as a user writes it
    temperature = dspex.Float(0, 1, default=0)


class Decades(Years):
    """Answer questions on decades."""

    max_steps = 2


def test_a_class_declares_its_tools_and_a_subclass_keeps_the_settings() -> None:
    assert Years().instruction == "Answer questions on years."
    assert Decades().step.instruction.startswith("Answer questions on decades.\n\nWork towards answer in steps.")
    assert set(Decades.space().names) == set(Years.space().names) >= {"step.temperature", "answer.temperature"}
    assert [one.name for one in Decades.tools] == ["born", "minus"]
    output, trajectory = asked(Decades(), model(lambda turns: look_up(len(turns)), lambda _: 1815))
    assert output == Years.Output(answer=1815)
    assert len(trajectory.turns) == 2


def test_a_subclass_may_fix_what_its_base_leaves_open() -> None:
    body = {"Input": Years.Input, "Output": Years.Output, "tools": [born], "max_tokens": dspex.Int(1, 9)}
    base: Any = type("Base", (ReAct,), {**body, "instruction": dspex.Text("Be exact.")})
    fixed: Any = type("Fixed", (base,), {"instruction": "Be kind.", "max_tokens": 5})
    assert {"step.instruction", "step.max_tokens"} <= set(base.space().names)
    assert set(fixed.space().names) == {"step.demos", "answer.demos"}
    assert fixed().answer.instruction.startswith("Be kind.")
    assert fixed().answer.max_tokens == 5


def test_secrets_of_the_input_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPEX_TEST_NO_SUCH_KEY", "sesame-4711")
    shown: list[str] = []

    def rule(messages: Any, _: Any) -> str:
        shown.extend(message["content"] for message in messages)
        return json.dumps(FINISHED if is_step(messages) else {"answer": 1})

    asked(Years(), rule)
    assert len(shown) == 4
    assert not any("sesame" in text or "DSPEX_TEST" in text for text in shown)


def test_a_part_in_the_class_body_takes_the_place_of_the_made_one() -> None:
    class Short(Program):
        """Answer in one word."""

        class Input(Schema):
            question: str
            trajectory: tuple[Turn, ...]

        class Output(Schema):
            answer: str

    class Own(ReAct):
        class Input(Schema):
            question: str

        Output = Short.Output
        tools = (born,)
        answer = Short()

    assert Own().answer.instruction == "Answer in one word."
    output, _ = asked(Own(), model(lambda _: FINISHED, lambda _: "yes"))
    assert output.answer == "yes"


def test_as_a_part_of_a_whole_it_is_found_by_its_place() -> None:
    class Whole(Program):
        class Input(Schema):
            question: str

        class Output(Schema):
            answer: str

        research = react("question -> answer", tools=[born], temperature=dspex.Float(0, 1, default=0))

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the contract's name
            found = await self.research.acall({"question": input.question})
            return self.Output(answer=found.answer)

    assert "research.step.temperature" in Whole.space().names
    with served(model(lambda _: FINISHED, lambda _: "yes")) as (_, lm), recording() as log, trajectories() as heard:
        ran(Whole(), lm, question="?")
    assert [call.module for call in log.records] == ["research.step", "research.answer"]
    assert heard[0].place == "research"


def page(number: int) -> str:
    """Read a page."""
    return f"page {number}: " + "words and more words " * 60


def reading(turns: list[dict[str, Any]]) -> Step:
    return {"thought": "More.", "tool": "page", "arguments": {"number": len(turns)}} if len(turns) < 6 else FINISHED


def test_the_oldest_observations_are_shortened_when_the_model_cannot_take_them_all() -> None:
    seen: list[list[dict[str, Any]]] = []

    def answer(turns: list[dict[str, Any]]) -> str:
        seen.append(turns)
        return "read"

    program = react("question -> answer", tools=[page])
    output, trajectory = asked(program, model(reading, answer), context_window=1500)
    assert output.answer == "read"
    assert [len(turn.observation) > 1000 for turn in trajectory.turns] == [True] * 6 + [False]  # the caller's are whole
    lengths = [len(turn["observation"]) for turn in seen[0]]
    assert lengths[0] < 250
    assert seen[0][0]["observation"].endswith("... (shortened)")
    assert lengths[5] > 1000  # the latest is whole


def test_a_prompt_that_no_shortening_makes_fit_raises_the_models_error() -> None:
    program = react("question -> answer", tools=[page])
    with served(model(reading, last), context_window=300) as (server, lm):
        with pytest.raises(LMContextWindowError):
            ran(program, lm, question="why " * 400)
        assert server.counters()["requests"] == 1


def test_shortening_takes_something_away_each_time_and_comes_to_an_end() -> None:
    turns = [Turn(thought="t", tool="page", observation="x" * size) for size in (5000, 10, 300, 90_000, 0, 4000)]
    before, rounds = sum(len(turn.observation) for turn in turns), 0
    shorter: list[Turn] | None = turns
    while (shorter := shortened(turns)) is not None:
        turns, rounds = shorter, rounds + 1
        after = sum(len(turn.observation) for turn in turns)
        assert after < before
        before = after
    assert rounds <= 6
    assert before < 6 * 220


def test_many_questions_at_once_keep_their_own_trajectories() -> None:
    def choose(turns: list[dict[str, Any]]) -> Step:
        return FINISHED if turns else look_up(0)

    def rule(messages: Any, _: Any) -> str:
        turns = shown_turns(messages)
        name = messages[-1]["content"].partition("question: ")[2].partition("\n")[0]
        if is_step(messages):
            return json.dumps(FINISHED if turns else look_up(0, name))
        return json.dumps({"answer": turns[0]["observation"]})

    async def scene(program: Any, lm: OpenAICompatibleLM) -> list[Any]:
        async def one(name: str) -> tuple[str, list[Trajectory]]:
            with trajectories() as heard:
                return (await program(question=name)).answer, list(heard)

        try:
            return await asyncio.gather(*(one(name) for name in list(BORN) * 10))
        finally:
            await lm.aclose()

    with served(rule) as (_, lm), trajectories() as all_of_them:
        results = asyncio.run(scene(react("question -> answer", tools=[born]).with_lm(lm), lm))
    assert [answer for answer, _ in results] == [str(year) for year in BORN.values()] * 10
    assert all(len(heard) == 1 for _, heard in results)
    assert [heard[0].turns[0].arguments["name"] for _, heard in results] == list(BORN) * 10
    assert len(all_of_them) == 30


def test_each_call_of_a_tool_has_a_span() -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry's SDK is not installed")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter, provider = memory.InMemorySpanExporter(), trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    configure(tracing=provider)
    try:
        asked(react("question -> answer", tools=[born, minus]), model(difference, last))
    finally:
        configure(tracing=None)
    names = [span.name for span in exporter.get_finished_spans()]
    assert [name for name in names if "tool" in name] == ["execute_tool born"] * 2 + ["execute_tool minus"]


def test_a_saved_module_finds_its_tools_again() -> None:
    program = react("question -> answer", tools=[born, minus], max_steps=4)
    again = program_from_state(json.loads(json.dumps(program.with_values({}).state())))
    assert again.path == program.path
    assert isinstance(again, ReAct)
    assert (again.max_steps, again.tools[0]) == (4, born)
    assert asked(again, model(difference, last))[0].answer == "97"


def test_a_tool_without_a_name_to_import_it_by_cannot_be_saved() -> None:
    def inner(name: str) -> str:
        return name

    with pytest.raises(ProgramError, match="cannot be saved"):
        react("question -> answer", tools=[inner]).state()


def test_a_module_travels_between_processes() -> None:
    def inner(name: str) -> int:
        return BORN[name]

    inner.__name__ = inner.__qualname__ = "born"
    for program in (react("question -> answer", tools=[inner, minus]), Years()):
        again = cloudpickle.loads(cloudpickle.dumps(program))
        answer = (lambda _: 97) if isinstance(program, Years) else last
        assert str(asked(again, model(difference, answer))[0].answer) == "97"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "ReAct has no tool; give functions"),
        ({"tools": []}, "ReAct has no tool"),
        ({"tools": [tool(name="finish")(minus)]}, "A tool cannot be called 'finish' here"),
        ({"tools": [born, born]}, "Two tools are called 'born'"),
        ({"tools": born}, "tools is a list"),
        ({"tools": [Predict("a -> b")]}, "A program is no tool, .*; write a typed async function that awaits it"),
        ({"tools": [born], "max_steps": 0}, "max_steps is a whole number from 1 on"),
        ({"tools": [born], "max_steps": True}, "max_steps is a whole number from 1 on"),
        ({"tools": [born], "max_step": 3}, "max_step"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        react("question -> answer", **settings)


def test_a_field_that_the_module_has_itself_is_refused() -> None:
    with pytest.raises(ProgramError, match="has a 'trajectory' of its own; rename the field"):
        react("trajectory -> answer", tools=[born])
