"""The most that one model call may take: what is reserved for it before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Final

from dspex_ray.budgets.amounts import Amounts
from dspex_ray.lm.base import LM, LMRequest, Usage
from dspex_ray.lm.context_window import MARGIN
from dspex_ray.lm.prices import Price, most_output_of, price_of
from dspex_ray.lm.resolve import EMBEDDED
from dspex_ray.lm.tokens import count_prompt_tokens

DEFAULT_OUTPUT: Final = 4096
"""Tokens a reply may have where neither the request nor the price table says."""
_WRAPPING: Final = 8  # tokens a message has besides its text, roles among them
_CHARACTERS: Final = 3  # of a JSON Schema to a token, at least
_FREE: Final = Price(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most a call may take; `priced` is False when no price is known, and `amounts.usd` 0 then."""

    amounts: Amounts
    priced: bool


def ceiling_of(lm: LM, request: LMRequest) -> Ceiling:
    """Return the most the call may take.

    The prompt's estimate (`lm/tokens.py`) counts half as much again, a reply `max_tokens`, else what the price table
    says of the model, else `DEFAULT_OUTPUT`. Of several models (`a|b`) the dearest counts. A client may have a `price`
    of its own.
    """
    schema = 0 if request.response_schema is None else len(str(request.response_schema)) // _CHARACTERS
    prompt = ceil(count_prompt_tokens(request.messages) * MARGIN) + _WRAPPING * len(request.messages) + schema
    prices = prices_of(lm)
    reply = request.max_tokens or _most_output(lm.model)
    usage = Usage(prompt_tokens=prompt, completion_tokens=reply)
    costs = [price.cost_usd(usage) for price in prices if price is not None]
    return Ceiling(Amounts(max(costs, default=0.0), 1, prompt + reply), priced=len(costs) == len(prices))


def prices_of(lm: LM | str) -> tuple[Price | None, ...]:
    """Return the price of a model, by client or by name, or of each of several; None for one that is not known."""
    own = getattr(lm, "price", None)
    if isinstance(own, Price):
        return (own,)
    return _known(lm if isinstance(lm, str) else lm.model)


@lru_cache(maxsize=256)
def _known(model: str) -> tuple[Price | None, ...]:
    return tuple(_FREE if name == EMBEDDED else price_of(name) for name in _names(model))


@lru_cache(maxsize=256)
def _most_output(model: str) -> int:
    return max(most_output_of(name) or DEFAULT_OUTPUT for name in _names(model))


def _names(model: str) -> list[str]:
    return [name.strip() for name in model.split("|")]
