"""Requests as replicas hand them to the store."""

from __future__ import annotations

from typing import Any

from dspex_ray.requests_kept.request import RequestDetails, kept
from dspex_ray.serving.contract import Caller, Outcome

SALT = b"salt"


def outcome(request_id: str, **others: Any) -> Outcome:
    told = {"endpoint": "shop", "version": "3", "status": 200, "at": 10.0, "latency_s": 0.5, **others}
    caller = Caller(tenant=told.pop("tenant", "default"), user=told.pop("user", None))
    return Outcome(request_id=request_id, caller=caller, **{"arm": told["version"], **told})


def kept_row(request_id: str, *, details: RequestDetails | None = None, **others: Any) -> dict[str, Any]:
    return kept(outcome(request_id, **others), details or RequestDetails(), SALT, content=True).to_row()
