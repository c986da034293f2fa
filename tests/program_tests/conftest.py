"""A scripted model and a small program, for tests of programs and evaluation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Literal

import pytest

from dspex_coordination.variables import Demos, Float, Int
from dspex_ray.configuration import configure
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.programs.program import Program
from dspex_ray.schema import Probability, Schema

Answer = str | LMReply | Exception | Callable[[LMRequest], "str | LMReply | Exception"]


class ScriptedLM:
    """Answers from a list, the last answer for ever, and keeps every request."""

    model = "scripted/model"

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[LMRequest] = []
        self.closed = 0

    async def complete(self, request: LMRequest) -> LMReply:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, LMReply):
            return answer
        return LMReply(text=answer, model=self.model, usage=Usage(prompt_tokens=7, completion_tokens=3), cost_usd=0.5)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        self.closed += 1


class RouteProgram(Program):
    """Route a message to its intent."""

    class Input(Schema):
        message: str

    class Output(Schema):
        intent: Literal["cash", "card", "rate"]
        confidence: Probability = 1.0

    temperature = Float(0.0, 1.5, default=0.2)
    max_tokens = Int(1, 500, default=50)
    demos = Demos(max=16)


@pytest.fixture
def scripted() -> type[ScriptedLM]:
    return ScriptedLM


@pytest.fixture
def route() -> type[RouteProgram]:
    return RouteProgram


@pytest.fixture(autouse=True)
def _no_default_model(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.delenv("DSPEX_LM", raising=False)
    yield
    configure(lm=None)
