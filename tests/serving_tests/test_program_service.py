"""A program as a service: its model calls are billed, answered or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dspex_ray.configuration import configure
from dspex_ray.errors import InputError, LMTimeoutError
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema
from dspex_ray.serving.base import Bill
from dspex_ray.serving.program_service import ProgramServiceFor, pack_program


class PricedLM:
    """Answers every request alike, at a price."""

    def __init__(self, text: str, cost_usd: float | None, *, fails: bool = False) -> None:
        self.text, self.cost_usd, self.fails, self.closed = text, cost_usd, fails, False

    @property
    def model(self) -> str:
        return "priced"

    async def complete(self, request: LMRequest) -> LMReply:
        if self.fails:
            raise LMTimeoutError("too slow")
        return LMReply(text=self.text, model="priced", usage=Usage(prompt_tokens=5), cost_usd=self.cost_usd)

    async def _stream(self) -> AsyncIterator[LMChunk]:
        yield LMChunk(delta=self.text)

    def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        return self._stream()

    async def aclose(self) -> None:
        self.closed = True


class Shout(Program):
    """Shout the message."""

    class Input(Schema):
        message: str

    class Output(Schema):
        loud: str


def answer(program: Program, fields: dict[str, Any]) -> tuple[Any, Bill]:
    bill = Bill("req-9", "v2")
    service = ProgramServiceFor(program)
    try:
        return asyncio.run(service.answer(fields, bill)), bill
    except (InputError, LMTimeoutError) as error:
        return error, bill


def test_an_answer_is_json_and_its_call_is_billed_to_request_and_version() -> None:
    output, bill = answer(Shout().with_lm(PricedLM('{"loud": "HI"}', 0.25)), {"message": "hi"})
    assert output == {"loud": "HI"}
    assert bill.cost_usd == 0.25
    assert [(row["request_id"], row["version"], row["prompt_tokens"]) for row in bill.rows] == [("req-9", "v2", 5)]


def test_a_failed_call_is_billed_too() -> None:
    error, bill = answer(Shout().with_lm(PricedLM("", None, fails=True)), {"message": "hi"})
    assert isinstance(error, LMTimeoutError)
    assert [row["status"] for row in bill.rows] == ["error"]
    assert bill.cost_usd == 0.0


def test_a_model_without_a_price_makes_the_cost_unknown() -> None:
    _, bill = answer(Shout().with_lm(PricedLM('{"loud": "HI"}', None)), {"message": "hi"})
    assert bill.cost_usd is None


def test_a_bad_input_costs_nothing() -> None:
    error, bill = answer(Shout().with_lm(PricedLM("", 1.0)), {"massage": "hi"})
    assert isinstance(error, InputError)
    assert {path for path, _ in error.problems} == {"message", "massage"}
    assert (bill.rows, bill.cost_usd) == ([], 0.0)


def test_concurrent_requests_are_billed_apart() -> None:
    service = ProgramServiceFor(Shout().with_lm(PricedLM('{"loud": "HI"}', 0.5)))
    bills = [Bill(f"req-{n}", "v") for n in range(20)]

    async def all_at_once() -> None:
        await asyncio.gather(*(service.answer({"message": "hi"}, bill) for bill in bills))

    asyncio.run(all_at_once())
    assert [(bill.cost_usd, [row["request_id"] for row in bill.rows]) for bill in bills] == [
        (0.5, [f"req-{n}"]) for n in range(20)
    ]


@pytest.fixture
def default_model() -> Any:
    configure(lm="openai/some-model")
    yield "openai/some-model"
    configure(lm=None)


def test_a_packed_program_takes_the_default_model_of_this_process_along(default_model: str) -> None:
    parcel = pack_program(Shout())
    configure(lm=None)
    assert parcel.open().lm_name == default_model


def test_a_packed_program_keeps_a_model_of_its_own(default_model: str) -> None:
    assert pack_program(Shout().with_lm("openai/own")).open().lm_name == "openai/own"
