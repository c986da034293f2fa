"""The key of a request: equal keys mean that a provider is asked exactly the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from dspex_ray.lm.base import LMRequest

FORMAT = 2
"""Part of every key and entry: a new one makes those of other versions of this package unreachable."""


def request_key(model: str, endpoint: str, request: LMRequest) -> str:
    """Return 64 hex digits that depend on all that may change the answer, and on nothing else.

    That is the model, the endpoint that serves it, messages with their images, sampling parameters, stop texts, seed,
    effort, response schema and `rollout_id`; not the timeout, nor what the provider is to keep.
    """
    parts = (
        FORMAT,
        model,
        endpoint,
        [(message.role, message.content, message.images) for message in request.messages],
        request.temperature,
        request.top_p,
        request.max_tokens,
        request.stop,
        request.seed,
        request.frequency_penalty,
        request.presence_penalty,
        request.reasoning_effort,
        _schema_text(request.response_schema),
        request.rollout_id,
    )
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def _schema_text(schema: Mapping[str, Any] | None) -> str | None:
    # the order of a schema's keys is sent as it is, and an answer may depend on it
    return None if schema is None else json.dumps(schema, ensure_ascii=False)
