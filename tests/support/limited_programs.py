"""A program that asks its model once for each input and says in which process; importable in workers too."""

from __future__ import annotations

import os
from typing import Any

from dspex_ray.lm.base import ChatMessage, LMRequest
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema
from dspex_ray.testing.model_server import ModelServer


class AsksModel(Program):
    """Ask the model."""

    class Input(Schema):
        n: int

    class Output(Schema):
        pid: int

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        await self.lm.complete(LMRequest(messages=(ChatMessage("user", str(input.n)),)))
        return self.Output(pid=os.getpid())


def limited(server: ModelServer, limits: LMLimits) -> Program:
    """Return the program with a client of the server that keeps the limits."""
    lm = OpenAICompatibleLM("vllm/m", wire_model="m", base_url=server.base_url, api_key=None, price=None, limits=limits)
    return AsksModel().with_lm(lm)
