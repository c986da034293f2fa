"""Who gets which arm: weighted rendezvous hashing, so that a change of weights moves as few users as possible."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final

from dspex_ray.serving.contract import Route
from dspex_ray.traffic.plan import Arm, TrafficPlan

_WHOLE: Final = 2.0**64


def deal(plan: TrafficPlan, headers: Mapping[str, str], user: str | None, request_id: str) -> Route:
    """Return the route of one request; the same for the same user, whatever replica asks.

    A user is the caller's, or else what the plan's sticky header says. An arm gets the share of users that its weight
    says; when weights change, users move to arms that gained and from arms that lost, no others (rendezvous hashing,
    Thaler and Ravishankar 1998; weights as in Schindelhauer and Schomaker 2005: the least -ln(u) / weight wins).
    """
    who = user if user is not None else headers.get(plan.sticky_header or "")
    shadows = tuple(
        one.version
        for one in plan.shadows
        if one.share >= 1 or _uniform(plan.salt, "shadow", one.version, request_id) <= one.share
    )
    for rule in plan.rules:
        if rule.takes(headers):
            arm = plan.arm(rule.arm)
            return Route(version=arm.version, arm=arm.name, reason=f"rule:{rule.name}", shadows=shadows)
    arm = _drawn(plan, f"user {who}" if who else f"request {request_id}")
    return Route(version=arm.version, arm=arm.name, reason="sticky" if who else "weight", shadows=shadows)


def _drawn(plan: TrafficPlan, key: str) -> Arm:
    live = [arm for arm in plan.arms if arm.weight > 0]
    if len(live) == 1:
        return live[0]
    return min(live, key=lambda arm: -math.log(_uniform(plan.salt, arm.name, key)) / arm.weight)


def _uniform(*parts: str) -> float:
    """Return a number above 0 and at most 1 that the texts decide."""
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") + 1) / _WHOLE
