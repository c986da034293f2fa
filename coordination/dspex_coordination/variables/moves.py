"""Moves from one value to a near one: what `Variable.mutate` is made of."""

from __future__ import annotations

import math
import random

from dspex_coordination.errors import VariableError


def checked_strength(strength: float, what: str) -> float:
    """Return `strength` if it is in (0, 1]. Raises VariableError that begins with `what`."""
    if not 0.0 < strength <= 1.0:  # also refuses NaN
        raise VariableError(f"{what}: the strength of a mutation must be above 0 and at most 1, got {strength!r}.")
    return strength


def shifted(position: float, rng: random.Random, strength: float) -> float:
    """Return a position in [0, 1] a normally distributed step away; a step past an end is reflected there."""
    folded = math.fmod(abs(position + rng.gauss(0.0, strength)), 2.0)
    return 2.0 - folded if folded > 1.0 else folded


def neighbour(position: int, count: int, rng: random.Random) -> int:
    """Return the position before or after `position` in `range(count)`; `position` itself if it is the only one."""
    near = [one for one in (position - 1, position + 1) if 0 <= one < count]
    return rng.choice(near) if near else position
