"""Crossover and mutation of one coordinate in [0, 1]."""

from __future__ import annotations

import math
import random


def simulated_binary(one: float, other: float, index: float, rng: random.Random) -> float:
    """Return a child spread around one of two different parents, the nearer the larger `index` (at least 0).

    It stays in [0, 1] without being cut off there. Source: bounded simulated binary crossover, Deb and Agrawal 1995;
    Deb et al. 2002.
    """
    low, high = min(one, other), max(one, other)
    span, below = high - low, rng.random() < 0.5  # noqa: PLR2004 - either parent
    room = low if below else 1.0 - high
    alpha = 2.0 - math.pow(1.0 + 2.0 * room / span, -index - 1.0)
    draw = rng.random() * alpha
    spread = draw if draw <= 1.0 else 1.0 / (2.0 - draw)
    reach = math.pow(spread, 1.0 / (index + 1.0)) * span
    child = 0.5 * (low + high + (-reach if below else reach))
    return min(1.0, max(0.0, child))


def polynomial(u: float, index: float, rng: random.Random) -> float:
    """Return a coordinate around `u` in [0, 1], the nearer the larger `index` (at least 0).

    The mean step is about 1 / (index + 2). Source: bounded polynomial mutation, Deb and Goyal 1996.
    """
    draw, power = rng.random(), index + 1.0
    if draw < 0.5:  # noqa: PLR2004 - down or up
        kept = 2.0 * draw + (1.0 - 2.0 * draw) * math.pow(1.0 - u, power)
        step = math.pow(kept, 1.0 / power) - 1.0
    else:
        kept = 2.0 * (1.0 - draw) + (2.0 * draw - 1.0) * math.pow(u, power)
        step = 1.0 - math.pow(kept, 1.0 / power)
    return min(1.0, max(0.0, u + step))
