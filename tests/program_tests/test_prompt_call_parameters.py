"""What a program's attributes say of its model calls, and how repeated samples are told apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dspex_coordination.variables import Choice, Float, Int
from dspex_ray.errors import ProgramError, UsageError
from dspex_ray.lm.cache.key import request_key
from dspex_ray.programs.program import Program
from dspex_ray.prompting.answer_formats.names import check_answer_format
from dspex_ray.prompting.call_parameters import check_parameters
from dspex_ray.prompting.rollouts import joined_rollout, rollout
from dspex_ray.prompting.typed_call import typed_call
from dspex_ray.schema import Schema

GOOD = '{"answer": 5}'


class Tuned(Program):
    """Add."""

    class Input(Schema):
        question: str

    class Output(Schema):
        answer: int

    frequency_penalty = Float(-2.0, 2.0, default=0.5)
    presence_penalty = 0.25
    reasoning_effort = Choice(["low", "high"])
    seed = Int(0, 9, default=7)
    stop = ["END"]  # noqa: RUF012 - as a user writes it
    timeout_s = 12.0


def test_every_parameter_may_be_a_variable_or_a_plain_value(scripted: Any) -> None:
    lm = scripted(GOOD)
    Tuned().with_lm(lm).with_values({"reasoning_effort": "high"}).run(question="2+3")
    (request,) = lm.requests
    assert (request.frequency_penalty, request.presence_penalty) == (0.5, 0.25)
    assert (request.reasoning_effort, request.seed, request.stop) == ("high", 7, ("END",))
    assert (request.timeout_s, request.temperature, request.top_p) == (12.0, None, None)


def test_every_wrong_parameter_is_told_at_once_when_it_is_declared() -> None:
    with pytest.raises(ProgramError) as caught:

        class Wrong(Program):
            Input, Output = Tuned.Input, Tuned.Output
            temperature = "hot"
            stop = ("",)
            timeout_s = 0
            max_tokens = True

    told = str(caught.value)
    assert "temperature is a number, got 'hot'" in told
    assert "stop is a text or a list of texts, none of them empty, got ('',)" in told
    assert "timeout_s is a number of seconds above 0, got 0" in told
    assert "max_tokens is a whole number from 1 on, got True" in told


def test_what_no_call_could_use_is_told_of_the_class() -> None:
    class Odd(Program):
        Input, Output = Tuned.Input, Tuned.Output
        temperature = 0.5

    check_parameters(Odd)
    check_parameters(Tuned)
    check_answer_format(Odd)
    for name, value, told in (
        ("seed", 1.5, "Odd: seed is a whole number, got 1.5"),
        ("stop", Choice(["a", ""]), "Odd: stop is a text or a list of texts, none of them empty, got ''"),
        ("max_tokens", Int(0, 9, default=4), "Odd: max_tokens is a whole number from 1 on, got 0"),
    ):
        kind = type("Odd", (), {name: value})
        with pytest.raises(ProgramError, match=told):
            check_parameters(kind)
    for form in ("xml", Choice(["json", "yaml"]), None):
        with pytest.raises(ProgramError, match="answer_format is one of 'json', 'text', got"):
            check_answer_format(type("Odd", (), {"answer_format": form}))


def test_samples_of_one_question_are_different_cache_entries_and_the_same_ones_each_time(scripted: Any) -> None:
    async def ids() -> list[int]:
        lm = scripted(GOOD)
        program, given = Tuned().with_lm(lm), Tuned.Input(question="q")
        await typed_call(program, given)
        await typed_call(program, given, rollout_id=1)
        for number in (0, 1, 2):
            with rollout(number):
                await typed_call(program, given)
        for outer, inner in ((1, 2), (2, 1), (1, 1), (1, 0)):
            with rollout(outer), rollout(inner):
                await typed_call(program, given)
        assert len({request_key("m", "", request) for request in lm.requests}) == 6
        return [request.rollout_id for request in lm.requests]

    made = asyncio.run(ids())
    assert made[:5] == [0, 1, 0, 1, 2]
    assert made[-1] == 1
    assert len(set(made)) == 6
    assert made == asyncio.run(ids())
    assert all(0 <= one < 2**53 for one in made)


def test_a_rollout_ends_with_its_block_and_takes_whole_numbers_only() -> None:
    with rollout(3):
        assert joined_rollout(0) == 3
    assert joined_rollout(0) == 0
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(UsageError, match="whole number from 0 on"), rollout(wrong):  # type: ignore[arg-type] # wrong on purpose
            pass


def test_asking_again_stays_in_its_rollout(scripted: Any) -> None:
    lm = scripted("nonsense", GOOD)
    with rollout(4):
        Tuned().with_lm(lm).run(question="q")
    assert [request.rollout_id for request in lm.requests] == [4, 4]
