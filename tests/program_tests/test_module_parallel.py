"""Parallel and parallel_map: several programs on one input, one program on many, in order whatever ends first."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_models import run_on, served

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.errors import InputError, LMAuthError, LMError, OutputError, ProgramError, UsageError
from dspex_ray.modules.many_inputs import parallel_map
from dspex_ray.modules.parallel import Parallel
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program_ref import program_from_state


class Length(dspex.Program):
    """Count, without a model; fails as its text says."""

    class Input(dspex.Schema):
        text: str
        unit: Literal["characters", "words"] = dspex.field("characters", variable=True)

    class Output(dspex.Schema):
        length: int

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        """Count after a few turns of the loop, fewer for the later ones of a batch."""
        for _ in range(5 - len(input.text) % 5):
            await asyncio.sleep(0)
        if "fails" in input.text:
            raise OutputError(f"{input.text}!")
        if "broken" in input.text:
            raise ValueError(input.text)
        if "unreachable" in input.text:
            raise LMAuthError("no key", status=401)
        if "misused" in input.text:
            raise UsageError("wrong call")
        return self.Output(length=len(input.text.split()) if input.unit == "words" else len(input.text))


class Both(Parallel):
    programs = {"tone": dspex.Predict("text -> tone", temperature=dspex.Float(0, 1)), "length": Length()}  # noqa: RUF012


def tone(messages: Sequence[Mapping[str, Any]], _: Any) -> str:
    return json.dumps({"tone": f"{messages[-1]['content']}?"})


def test_each_program_has_its_field_of_the_output() -> None:
    output, asked = run_on(Both(), tone, text="so what")
    assert (output.tone.tone, output.length.length, asked) == ("so what?", 7, 1)
    assert output.model_dump() == {"tone": {"tone": "so what?"}, "length": {"length": 7}}
    assert Both.Output.parse(output.model_dump()) == output


def test_the_programs_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def rule(*_: Any) -> str:
        return json.dumps({"answer": "here"})

    class Met(dspex.Program):
        """Wait for the others."""

        class Input(dspex.Schema):
            question: str

        class Output(dspex.Schema):
            answer: str

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            await asyncio.to_thread(meeting.wait)
            return self.Output(answer=input.question)

    output, asked = run_on(Parallel({"a": Met(), "b": Met(), "c": Met()}), rule, question="all?")
    assert (output.a.answer, output.b.answer, output.c.answer, asked) == ("all?", "all?", "all?", 0)


def test_inputs_are_joined_and_each_program_is_asked_with_its_own() -> None:
    program = Parallel({"one": "question -> answer", "two": "question, context -> answer"})
    assert list(program.Input.model_fields) == ["question", "context"]
    seen: list[str] = []

    def rule(messages: Sequence[Mapping[str, Any]], _: Any) -> str:
        seen.append(str(messages[-1]["content"]))
        return json.dumps({"answer": "x"})

    run_on(program, rule, question="why", context="because")
    assert sorted(seen) == ["question: why\ncontext: because", "why"]


def test_variables_are_found_by_the_name_of_the_program_and_tuned_inputs_once() -> None:
    names = Both().space().names
    assert set(names) == {"programs.tone.demos", "programs.tone.temperature", "programs.length.input.unit"}
    tuned = Both().with_values({"programs.length.input.unit": "words", "programs.tone.temperature": 0.9})
    with served(tone) as (server, lm), recording() as log:
        output = tuned.with_lm(lm).run(text="so what")
        assert server.last_body["temperature"] == 0.9
    assert output.length.length == 2
    assert [(call.program, call.module) for call in log.records] == [(f"{__name__}:Both", "programs.tone")]


def test_the_first_program_that_fails_by_itself_is_told_when_all_have_ended() -> None:
    class Fails(Length):
        """Always fails."""

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            await asyncio.sleep(0.001)
            raise OutputError(f"first of {input.text}")

    program = Parallel({"a": Length(), "b": Fails(), "c": Length()})
    with pytest.raises(OutputError, match="first of x"):
        program.run(text="x")
    with pytest.raises(OutputError, match="x fails!"):
        program.run(text="x fails")
    with pytest.raises(LMAuthError):
        program.run(text="unreachable")


@pytest.mark.parametrize(
    ("programs", "complaint"),
    [
        ({}, "takes at least one program by name"),
        ([Length()], "takes at least one program by name"),
        ({"a": 3}, r"Parallel: a takes a program such as Route\(\)"),
        ({"a": "x -> y", "b": "x: int -> y"}, "contradict each other: x is"),
        ({"not a name": Length()}, "A field's name is an identifier"),
    ],
)
def test_programs_that_cannot_run_together_are_refused(programs: Any, complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        Parallel(programs)
    with pytest.raises(ProgramError, match="has no setting 'temperature'"):
        Parallel({"a": Length()}, temperature=0.3)
    with pytest.raises(ProgramError, match="has no programs"):

        class Bare(Parallel):
            Input = Length.Input
            Output = Length.Output


@pytest.mark.parametrize(
    "program", [Both(), Parallel({"tone": dspex.Predict("text -> tone", temperature=0.2), "length": Length()})]
)
def test_it_is_the_same_after_a_journey_and_from_its_state(program: Parallel) -> None:
    tuned = program.with_values({"programs.length.input.unit": "words"})
    journeys: list[Any] = [Parcel.of(tuned).open(), program_from_state(tuned.state())]
    for again in journeys:
        assert (again.path, again.values) == (tuned.path, tuned.values)
        output, _ = run_on(again, tone, text="so what")
        assert (output.tone.tone, output.length.length) == ("so what?", 2)


def mapped(texts: list[str], **options: Any) -> list[Any]:
    async def check() -> list[Any]:
        found: list[Any] = await parallel_map(Length(), [{"text": text} for text in texts], **options)
        assert len(asyncio.all_tasks()) == 1
        return found

    return asyncio.run(check())


def test_outputs_come_in_the_order_of_the_inputs_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    outputs = mapped(["a" * size for size in range(1, 30)], concurrency=7, progress=lambda *done: told.append(done))
    assert [one.length for one in outputs] == list(range(1, 30))
    assert told == [(done, 29) for done in range(1, 30)]
    assert mapped([]) == []


def test_no_more_run_at_once_than_asked_for() -> None:
    running, most = 0, 0

    class Counted(Length):
        """Count who is here."""

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return self.Output(length=0)

    asyncio.run(parallel_map(Counted(), [{"text": "x"}] * 20, concurrency=4))
    assert most == 4


words = st.lists(st.sampled_from(["ab", "abc", "it fails", "broken", "fails"]), max_size=12)


@given(words, st.integers(1, 9))
def test_the_error_that_is_raised_is_the_first_in_order_for_any_concurrency(texts: list[str], concurrency: int) -> None:
    first = next((text for text in texts if len(text) > 3), None)
    if first is None:
        assert [one.length for one in mapped(texts, concurrency=concurrency)] == [len(text) for text in texts]
        return
    with pytest.raises((OutputError, ValueError), match=f"^{first}"):
        mapped(texts, concurrency=concurrency)


def test_what_comes_after_an_error_is_not_asked_any_more() -> None:
    asked: list[str] = []

    class Kept(Length):
        """Keep what is asked."""

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            asked.append(input.text)
            return await super().predict(input)

    with pytest.raises(OutputError):
        asyncio.run(parallel_map(Kept(), [{"text": text} for text in ["a", "fails", *"bcdefgh"]], concurrency=2))
    assert len(asked) < 9


def test_errors_are_kept_in_their_places_if_so_wished() -> None:
    outputs = mapped(["ab", "fails", "unreachable", "broken", "abc"], on_error="keep")
    assert [getattr(one, "length", type(one)) for one in outputs] == [2, OutputError, LMAuthError, ValueError, 3]

    async def wrong() -> list[Any]:
        return await parallel_map(Length(), [{"text": "a"}, {"test": "b"}], on_error="keep")

    assert [type(one).__name__ for one in asyncio.run(wrong())] == ["Output", InputError.__name__]
    with pytest.raises(UsageError, match="wrong call"):
        mapped(["a", "misused"], on_error="keep")


def test_a_model_out_of_reach_stops_all_at_once() -> None:
    with pytest.raises(LMError, match="no key"):
        mapped([*"abc", "unreachable", *"defghijkl"], concurrency=3)


def test_a_batch_that_is_cancelled_leaves_no_call_behind() -> None:
    async def check() -> tuple[int, int]:
        started, ended = asyncio.Semaphore(0), 0

        class Waits(Length):
            """Wait for ever."""

            async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
                nonlocal ended
                started.release()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended += 1

        batch = asyncio.create_task(parallel_map(Waits(), [{"text": "x"}] * 5, concurrency=3))
        for _ in range(3):
            await asyncio.wait_for(started.acquire(), 5)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        return ended, len(asyncio.all_tasks())

    assert asyncio.run(check()) == (3, 1)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ((Length, []), "takes a program instance"),
        ((Length(), {"text": "x"}), "takes several inputs"),
        ((Length(), "text"), "takes several inputs"),
        ((Length(), 3), "takes several inputs, each a mapping or an Input, got 3"),
    ],
)
def test_a_batch_that_cannot_be_asked_is_refused(call: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        asyncio.run(parallel_map(*call))
    with pytest.raises(UsageError, match="concurrency is a whole number from 1 on, got 0"):
        mapped(["a"], concurrency=0)
    with pytest.raises(UsageError, match="on_error is 'raise' or 'keep', got 'skip'"):
        mapped(["a"], on_error="skip")
