"""Who gets which arm: weighted rendezvous hashing, so that a change of weights moves as few users as possible."""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Final

from dspex_ray.serving.contract import Route
from dspex_ray.traffic.plan import Arm, TrafficPlan

_WHOLE: Final = 2.0**64


class Dealer:
    """Deals out the arms of one plan; what is the same for all requests is worked out once."""

    def __init__(self, plan: TrafficPlan) -> None:
        self._salt, self._rules, self._shadows = plan.salt, plan.rules, plan.shadows
        self._sticky_header = plan.sticky_header
        live = [arm for arm in plan.arms if arm.weight > 0]
        self._drawn = [
            (_bytes(f"{plan.salt}\x1f{arm.name}\x1fuser "), arm.weight, _route(arm, "sticky")) for arm in live
        ]
        self._by_request = _bytes(f"{plan.salt}\x1frequest ")
        routes = [_route(arm, "weight") for arm in live]
        self._weighed = list(zip(accumulate(arm.weight for arm in live), routes, strict=True))
        self._ruled = {rule.name: _route(plan.arm(rule.arm), f"rule:{rule.name}") for rule in plan.rules}

    def deal(self, headers: Mapping[str, str], user: str | None, request_id: str) -> Route:
        """Return the route of one request; the same for the same user, whatever replica asks.

        A user is the caller's, or else what the plan's sticky header says; without either the request's id decides. An
        arm gets the share of users that its weight says; when weights change, users move to arms that gained and from
        arms that lost, no others (rendezvous hashing, Thaler and Ravishankar 1998; weights as in Schindelhauer and
        Schomaker 2005: the least -ln(u) / weight wins).
        """
        if user is None and self._sticky_header is not None:
            user = headers.get(self._sticky_header)
        ruled = next((rule.name for rule in self._rules if rule.takes(headers)), None) if self._rules else None
        if ruled is not None:
            route = self._ruled[ruled]
        else:
            route = self._of_user(user) if user else self._of_request(request_id)
        return self._with_shadows(route, request_id) if self._shadows else route

    def _of_user(self, user: str) -> Route:
        if len(self._drawn) == 1:
            return self._drawn[0][2]
        named, least, won = _bytes(user), math.inf, self._drawn[0][2]
        for prefix, weight, route in self._drawn:
            cost = -math.log(_uniform(prefix + named)) / weight
            if cost < least:
                least, won = cost, route
        return won

    def _of_request(self, request_id: str) -> Route:
        weighed = self._weighed
        if len(weighed) > 1:
            drawn = _uniform(self._by_request + _bytes(request_id))
            for most, route in weighed:
                if drawn <= most:
                    return route
        return weighed[-1][1]

    def _with_shadows(self, route: Route, request_id: str) -> Route:
        shadows = tuple(
            one.version
            for one in self._shadows
            if one.share >= 1
            or _uniform(_bytes(f"{self._salt}\x1fshadow\x1f{one.version}\x1f{request_id}")) <= one.share
        )
        return Route(version=route.version, arm=route.arm, reason=route.reason, shadows=shadows)


def deal(plan: TrafficPlan, headers: Mapping[str, str], user: str | None, request_id: str) -> Route:
    """Return the route of one request under a plan; see `Dealer.deal`."""
    return Dealer(plan).deal(headers, user, request_id)


def _route(arm: Arm, reason: str) -> Route:
    return Route(version=arm.version, arm=arm.name, reason=reason)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _uniform(key: bytes) -> float:
    """Return a number above 0 and at most 1 that the bytes decide."""
    return (int.from_bytes(blake2b(key, digest_size=8).digest(), "big") + 1) / _WHOLE
