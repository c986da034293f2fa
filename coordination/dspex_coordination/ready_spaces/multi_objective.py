"""`multi_objective_space`: what trades accuracy for time and money, and how much each usually weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dspex_coordination.ready_spaces.language_model import language_model_space
from dspex_coordination.ready_spaces.model_facts import MODELS, ModelFacts
from dspex_coordination.space import Space
from dspex_coordination.variables import Demos, Int, Variable

OBJECTIVE_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"accuracy": 0.4, "latency": 0.3, "cost": 0.2, "confidence": 0.1}
)
"""How much each goal weighs where several must become one number."""


def multi_objective_space(
    models: Sequence[ModelFacts] = MODELS,
    *,
    prompt_tokens: int = 2000,
    output_tokens: int = 500,
    max_demos: int = 8,
    max_cost_usd: float | None = None,
) -> Space:
    """Return `language_model_space` with `demos` and, where answers are compared, the number of `samples` of each.

    It is meant for several objectives at once: every model and strategy is in it, and only `max_cost_usd`, if given,
    is a limit. Raises SpaceError or VariableError as `language_model_space` does.
    """
    base = language_model_space(
        models, prompt_tokens=prompt_tokens, output_tokens=output_tokens, max_cost_usd=max_cost_usd
    )
    variables: dict[str, Variable[Any]] = {
        **base.variables,
        "samples": Int(3, 11, default=5, step=2, when={"reasoning_strategy": "self_consistency"}),
        "demos": Demos(max=max_demos),
    }
    return Space(variables, base.constraints)
