"""Ready spaces for language models: no model is called and nothing is fetched, the facts of models are data."""

from __future__ import annotations

from dspex_coordination.ready_spaces.language_model import language_model_space
from dspex_coordination.ready_spaces.model_facts import MODELS, MODELS_DATE, ModelFacts
from dspex_coordination.ready_spaces.multi_objective import OBJECTIVE_WEIGHTS, multi_objective_space
from dspex_coordination.ready_spaces.provider import provider_space
from dspex_coordination.ready_spaces.reasoning import TOKEN_MULTIPLIERS
from dspex_coordination.ready_spaces.teleprompter import teleprompter_space

__all__ = [
    "MODELS",
    "MODELS_DATE",
    "OBJECTIVE_WEIGHTS",
    "TOKEN_MULTIPLIERS",
    "ModelFacts",
    "language_model_space",
    "multi_objective_space",
    "provider_space",
    "teleprompter_space",
]
