"""`ModelFacts`: what a search must know of a language model, and a dated table of such facts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dspex_coordination.errors import SpaceError

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of one model. Raises SpaceError for what cannot be.

    | field            | meaning                                                                           |
    |------------------|-----------------------------------------------------------------------------------|
    | `name`           | as a client is asked for it, such as "groq/openai/gpt-oss-20b"                    |
    | `context_window` | tokens that prompt and answer may have together                                   |
    | `max_output`     | tokens that an answer may have                                                    |
    | `input_price`    | US dollars for a million tokens of prompt; `output_price` for those of the answer |
    | `temperature`    | the highest temperature it takes; None if it takes neither that nor top_p         |
    | `top_p`          | whether it takes top_p beside a temperature                                       |
    | `penalties`      | whether it takes frequency and presence penalties                                 |
    """

    name: str
    provider: str
    context_window: int
    max_output: int
    input_price: float
    output_price: float
    temperature: float | None = 2.0
    top_p: bool = True
    penalties: bool = False

    def __post_init__(self) -> None:
        prices = (self.input_price, self.output_price)
        if not self.name or not self.provider:
            raise SpaceError(f"A model needs a name and a provider, got {self.name!r} and {self.provider!r}.")
        if self.context_window < 1 or self.max_output < 1:
            raise SpaceError(f"{self.name}: context_window and max_output are numbers of tokens, at least 1.")
        if not all(math.isfinite(price) and price >= 0 for price in prices):
            raise SpaceError(f"{self.name}: prices are US dollars for a million tokens, at least 0, got {prices}.")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise SpaceError(f"{self.name}: temperature is the highest it takes, above 0, or None for a model without.")

    def cost_usd(self, prompt_tokens: float, output_tokens: float) -> float:
        """Return the price of a call in US dollars."""
        return (prompt_tokens * self.input_price + output_tokens * self.output_price) / _MILLION


MODELS_DATE = "2026-11-24"
"""When `MODELS` was read."""
MODELS_SOURCE = "litellm 1.106.2"
"""The package whose table of prices and windows `MODELS` repeats, for chat models without an end in sight."""

MODELS: tuple[ModelFacts, ...] = (
    ModelFacts("openai/gpt-4.1-mini", "openai", 1_047_576, 32_768, 0.4, 1.6, penalties=True),
    ModelFacts("openai/gpt-4.1", "openai", 1_047_576, 32_768, 2.0, 8.0, penalties=True),
    ModelFacts("openai/gpt-5.4-mini", "openai", 272_000, 128_000, 0.75, 4.5, temperature=None),
    ModelFacts("openai/gpt-6-luna", "openai", 922_000, 128_000, 0.1, 0.5, temperature=None),
    ModelFacts("openai/gpt-6.1-sol", "openai", 922_000, 128_000, 2.0, 10.0, temperature=None),
    ModelFacts("anthropic/claude-haiku-4-5", "anthropic", 200_000, 64_000, 1.0, 5.0, temperature=1.0, top_p=False),
    ModelFacts("anthropic/claude-haiku-5-5", "anthropic", 1_000_000, 128_000, 0.1, 0.5, temperature=None),
    ModelFacts(
        "anthropic/claude-sonnet-5-5", "anthropic", 1_000_000, 128_000, 2.0, 10.0, temperature=None, top_p=False
    ),
    ModelFacts("anthropic/claude-opus-5-5", "anthropic", 1_000_000, 128_000, 4.0, 20.0, temperature=None),
    ModelFacts("groq/openai/gpt-oss-20b", "groq", 131_072, 65_536, 0.075, 0.3),
    ModelFacts("groq/openai/gpt-oss-120b", "groq", 131_072, 65_536, 0.15, 0.6),
    ModelFacts("groq/qwen/qwen3.8-27b", "groq", 131_072, 16_384, 0.8, 4.0),
    ModelFacts("gemini/gemini-2.5-flash-lite", "google", 1_048_576, 65_536, 0.1, 0.4),
    ModelFacts("gemini/gemini-2.5-flash", "google", 1_048_576, 65_536, 0.3, 2.5),
    ModelFacts("gemini/gemini-3.8-flash", "google", 1_048_576, 65_536, 0.75, 3.75, temperature=None),
)
