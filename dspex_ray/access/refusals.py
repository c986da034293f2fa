"""The answers to requests that are not let in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from dspex_ray.access.meter import DAY_S, Refusal
from dspex_ray.access.roles import Role
from dspex_ray.serving.problem import Problem, of_status

UNAUTHENTICATED: Final = Problem(
    code="unauthenticated",
    status=401,
    title="No valid key or token",
    detail="Send a valid key as `authorization: Bearer dspex_...` or `x-api-key: dspex_...`.",
    headers={"www-authenticate": 'Bearer realm="dspex"'},
)
"""One text for all: whether a key is unknown, expired or revoked helps only whoever guesses."""

NOT_HERE: Final = of_status(404, "There is nothing here.", {})
"""What another tenant has looks as if it were not there."""

NO_PROVIDER: Final = Problem(
    code="identity-provider-unreachable",
    status=503,
    title="The identity provider cannot be reached",
    detail="The keys that tokens are checked with could not be fetched. Try again later.",
    retry_after_s=5.0,
)


def other_endpoint(endpoint: str) -> Problem:
    """Return the answer to a key that may call other endpoints only."""
    return _forbidden(f"This key may not call the endpoint {endpoint}.")


def lacks(role: Role) -> Problem:
    """Return the answer to a caller without a role."""
    return _forbidden(f"This needs the role {role!r}, which the key or token does not give.")


def over_limit(refusal: Refusal, whose: str, day: int) -> Problem:
    """Return the answer to a request beyond a limit of `whose`: `this key` or `this tenant`; `day` is today."""
    limits = refusal.limits
    if refusal.kind == "rate":
        told = f"{limits.requests_per_second:g} requests a second"
        return _too_many("rate-limit", f"The limit of {whose} is {told}.", refusal)
    if refusal.kind == "concurrency":
        told = f"{limits.concurrent_requests} requests at a time"
        return _too_many("concurrency-limit", f"The limit of {whose} is {told}.", refusal)
    renews_at = datetime.fromtimestamp((day + 1) * DAY_S, UTC).isoformat()
    usd = limits.usd_per_day or 0.0
    told = f"${usd:,.4g} a day" if usd < 1 else f"${usd:,.2f} a day"  # as budgets tell their caps
    detail = f"The limit of {whose}, {told}, is spent. It renews at {renews_at}."
    if refusal.kind == "unpriced":
        detail = f"The limit of {whose}, {told}, cannot be held, since the price of a request was not known."
    members = {"limit": told, "renews_at": renews_at}
    return Problem(
        code="quota-exceeded", status=402, title="The money of the day is spent", detail=detail, members=members
    )


def _forbidden(detail: str) -> Problem:
    return Problem(code="forbidden", status=403, title="Not allowed", detail=detail)


def _too_many(code: str, detail: str, refusal: Refusal) -> Problem:
    return Problem(code=code, status=429, title="Too many requests", detail=detail, retry_after_s=refusal.retry_after_s)
