"""`provider_space`: the language-model space of one provider, set to what that provider is best at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dspex_coordination.errors import SpaceError, near_matches
from dspex_coordination.ready_spaces.language_model import language_model_space
from dspex_coordination.ready_spaces.model_facts import MODELS, ModelFacts
from dspex_coordination.ready_spaces.reasoning import TOKEN_MULTIPLIERS
from dspex_coordination.space import Space


@dataclass(frozen=True, slots=True)
class Emphasis:
    """How long answers may get (in tokens) and which strategies are searched."""

    max_tokens: int
    strategies: tuple[str, ...]


BALANCE = Emphasis(4096, tuple(TOKEN_MULTIPLIERS))
QUALITY = Emphasis(8192, ("chain_of_thought", "program_of_thought", "react", "self_consistency"))
SPEED = Emphasis(1024, ("predict", "chain_of_thought"))

EMPHASES: Mapping[str, Emphasis] = MappingProxyType(
    {"openai": BALANCE, "anthropic": QUALITY, "groq": SPEED, "google": BALANCE}
)
"""What each provider's space is set to."""


def provider_space(
    provider: str,
    *,
    models: Sequence[ModelFacts] = MODELS,
    prompt_tokens: int = 2000,
    output_tokens: int = 500,
    max_cost_usd: float | None = None,
) -> Space:
    """Return `language_model_space` over the models of one provider of `models`.

    Anthropic's is set to quality, Groq's to speed, every other to balance. Raises SpaceError for a provider without
    models, and as `language_model_space` does.
    """
    own = [model for model in models if model.provider == provider]
    if not own:
        known = {model.provider for model in models}
        raise SpaceError(f"No model of the provider {provider!r} is known. {near_matches(provider, known)}")
    emphasis = EMPHASES.get(provider, BALANCE)
    return language_model_space(
        own,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        max_tokens=emphasis.max_tokens,
        max_cost_usd=max_cost_usd,
        strategies=emphasis.strategies,
    )
