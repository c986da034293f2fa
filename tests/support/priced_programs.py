"""A program that asks a simulated model of known price once for each input; importable in replicas and agents too."""

from __future__ import annotations

from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema

PRICE = Price(1e-4, 1e-3, 1e-4)
REPLIES = ['{"text": "well"}'] * 1000
"""What the model server is to answer."""


class Priced(Program):
    """Answer the question."""

    max_tokens = 20

    class Input(Schema):
        question: str

    class Output(Schema):
        text: str


def priced(url: str, price: Price | None = PRICE) -> Program:
    """Return the program with a client of the server at the URL."""
    lm = OpenAICompatibleLM(
        "openai/simulated", wire_model="simulated", base_url=url, api_key=None, price=price, max_attempts=1
    )
    return Priced().with_lm(lm)
