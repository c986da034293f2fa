"""`teleprompter_space`: what an optimizer of prompts chooses - instruction, examples and form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dspex_coordination.ready_spaces.language_model import ADAPTERS
from dspex_coordination.ready_spaces.reasoning import TOKEN_MULTIPLIERS, checked_strategies
from dspex_coordination.space import Space
from dspex_coordination.variables import Choice, Demos, Text, Variable


def teleprompter_space(
    instruction: str,
    *,
    instructions: Sequence[str] | None = None,
    max_demos: int = 8,
    strategies: Sequence[str] = tuple(TOKEN_MULTIPLIERS),
) -> Space:
    """Return the space of `instruction` (or one of `instructions`), `demos`, `adapter` and `reasoning_strategy`.

    The pool of examples is bound later (`Space.bind`). Without `instructions` the instruction stays what it is until
    its variable gets a pool. Raises SpaceError or VariableError for an argument that cannot be.
    """
    variables: dict[str, Variable[Any]] = {
        "instruction": Text(instruction, pool=instructions),
        "demos": Demos(max=max_demos),
        "adapter": Choice(ADAPTERS),
        "reasoning_strategy": Choice(checked_strategies(strategies)),
    }
    return Space(variables)
