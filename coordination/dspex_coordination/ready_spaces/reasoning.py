"""Ways to reason, with what they cost in tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dspex_coordination.errors import SpaceError, near_matches

TOKEN_MULTIPLIERS: Mapping[str, float] = MappingProxyType(
    {
        "predict": 1.0,
        "chain_of_thought": 2.5,
        "program_of_thought": 3.0,
        "react": 4.0,
        "self_consistency": 8.0,
    }
)
"""How many times the tokens of a plain answer each strategy writes, from the simplest to the most complex."""


def checked_strategies(strategies: Sequence[str]) -> tuple[str, ...]:
    """Return the strategies as given. Raises SpaceError if there is none, or for one that is not known."""
    if isinstance(strategies, str) or not strategies:
        raise SpaceError(f"strategies is a list of at least one of {', '.join(TOKEN_MULTIPLIERS)}, got {strategies!r}.")
    for strategy in strategies:
        if strategy not in TOKEN_MULTIPLIERS:
            raise SpaceError(f"Unknown strategy {strategy!r}. {near_matches(str(strategy), TOKEN_MULTIPLIERS)}")
    return tuple(strategies)
