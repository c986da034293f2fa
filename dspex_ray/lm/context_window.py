"""A prompt that cannot fit the model is refused before the call, and told by how much."""

from __future__ import annotations

from collections.abc import Sequence

from dspex_ray.errors import LMContextWindowError
from dspex_ray.lm.base import ChatMessage
from dspex_ray.lm.tokens import IMAGE_TOKENS, count_prompt_tokens

MARGIN = 1.5
"""How much too high the estimate may be. A prompt that is over by less goes to the provider, which counts exactly."""


def check_fits(messages: Sequence[ChatMessage], window: int | None, what: str) -> None:
    """Raise LMContextWindowError for a prompt whose estimate (`lm/tokens.py`) is over `window` by more than MARGIN.

    Costs next to nothing for a prompt of fewer characters than that: a token has at least one.
    """
    if window is None:
        return
    if sum(len(message.content) + IMAGE_TOKENS * len(message.images) for message in messages) <= window * MARGIN:
        return
    estimate = count_prompt_tokens(messages)
    if estimate <= window * MARGIN:
        return
    raise LMContextWindowError(
        f"The prompt has about {estimate:,} tokens, {what} takes {window:,}: about {estimate - window:,} too many. "
        "Nothing was sent. Use fewer demonstrations, shorter input, or a model with a longer context.",
        attempts=0,
    )
