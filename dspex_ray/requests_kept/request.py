"""`KeptRequest`: what is kept of one request, and what of it is not: who asked is a hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dspex_ray.serving.contract import Outcome

MOST_CONTENT: Final = 64_000
"""Characters of an input or output as JSON; a longer one is not kept."""
_MOST_ID, _MOST_NAME, _MOST_CODE = 200, 100, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDetails:
    """What an `Outcome` does not say: `user` where a header named one, the route's reason, the plan's revision.

    `input` and `output` are JSON objects; they are kept only where that was asked for.
    """

    user: str | None = None
    reason: str | None = None
    revision: int | None = None
    input: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRequest:
    """One request as it is kept. `at` is in seconds since the epoch, `latency_s` until the last byte.

    `unit` is what experiments compare: `u` and a hash of the user, else `r` and a hash of the request's id. Hashes are
    keyed with the store's salt, so that they tell users apart and name none to who has the rows alone; who has the
    salt too can test a guess: it is a pseudonym, no anonymity.
    """

    tenant: str
    endpoint: str
    request_id: str
    version: str
    arm: str
    unit: str
    status: int
    at: float
    latency_s: float
    cost_usd: float | None
    tokens: int
    error: str | None
    shadow: bool
    reason: str | None = None
    revision: int | None = None
    input: str | None = None
    output: str | None = None

    def to_row(self) -> dict[str, Any]:
        """Return it as a flat row of JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def kept(outcome: Outcome, details: RequestDetails, salt: bytes, *, content: bool = False) -> KeptRequest:
    """Return what is kept of a request; input and output only with `content`, and if they are not too long."""
    caller = outcome.caller
    cost = outcome.cost_usd
    return KeptRequest(
        tenant=storable(caller.tenant, _MOST_NAME),
        endpoint=storable(outcome.endpoint, _MOST_ID),
        request_id=storable(outcome.request_id, _MOST_ID),
        version=storable(outcome.version, _MOST_NAME),
        arm=storable(outcome.arm, _MOST_NAME),
        unit=unit_of(caller.tenant, details.user or caller.user, outcome.request_id, salt),
        status=outcome.status,
        at=outcome.at,
        latency_s=outcome.latency_s if math.isfinite(outcome.latency_s) else 0.0,
        cost_usd=cost if cost is not None and math.isfinite(cost) else None,
        tokens=outcome.tokens,
        error=None if outcome.error is None else storable(outcome.error, _MOST_CODE),
        shadow=outcome.shadow,
        reason=None if details.reason is None else storable(details.reason, _MOST_CODE),
        revision=details.revision,
        input=_content(details.input) if content else None,
        output=_content(details.output) if content else None,
    )


def unit_of(tenant: str, user: str | None, request_id: str, salt: bytes) -> str:
    """Return what is compared in experiments: the same for all requests of one user of one tenant."""
    kind, who = ("u", user) if user else ("r", request_id)
    text = f"{tenant}\x1f{who}".encode("utf-8", "surrogatepass")
    return f"{kind}{hashlib.blake2b(text, digest_size=16, key=salt).hexdigest()}"


def storable(value: str, most: int) -> str:
    """Return text that every database takes."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")[:most]


def _content(value: Mapping[str, Any] | None) -> str | None:
    if value is None:
        return None
    text = json.dumps(value)  # in ASCII: every database takes it
    return text if len(text) <= MOST_CONTENT else None
