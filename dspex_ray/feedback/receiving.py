"""Feedback taken in: from Python with errors, from the body of `POST /{name}/feedback` with problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dspex_ray.errors import InputError, UsageError
from dspex_ray.feedback.feedback import Feedback, read_feedback
from dspex_ray.serving.contract import Caller
from dspex_ray.serving.problem import Problem, invalid_input

_ANYBODY = Caller()


class FeedbackStore(Protocol):
    """Where feedback is kept: `RequestStore`."""

    def add_feedback(self, said: Feedback, *, by: str, at: float) -> int | None:
        """Keep feedback and return its number; None if the tenant has no such request."""
        ...


def record_feedback(
    store: FeedbackStore,
    request_id: str,
    *,
    endpoint: str,
    at: float,
    reward: float | None = None,
    correction: Mapping[str, Any] | None = None,
    note: str = "",
    caller: Caller = _ANYBODY,
) -> int:
    """Keep what the caller thinks of an answer and return the number of this feedback on it, from 1.

    The later feedback counts, all is kept. Raises InputError for feedback that cannot be, UsageError if the caller's
    tenant has no such request.
    """
    said = Feedback(
        tenant=caller.tenant,
        endpoint=endpoint,
        request_id=request_id,
        reward=reward,
        correction=correction,
        note=note,
    )
    number = store.add_feedback(said, by=_told(caller), at=at)
    if number is None:
        raise UsageError(_unknown(said))
    return number


def answer_feedback(
    store: FeedbackStore, endpoint: str, caller: Caller, body: Any, *, at: float
) -> Mapping[str, Any] | Problem:
    """Keep the feedback of a parsed JSON body and return the answer to it, or the problem that is sent instead.

    404 for a request that is not known, is another tenant's or is too old; 422 with every bad field. It writes to the
    store: call it off the event loop. A request is known about a second after its answer.
    """
    try:
        said = read_feedback(body, tenant=caller.tenant, endpoint=endpoint)
    except InputError as error:
        return invalid_input(error.problems)
    number = store.add_feedback(said, by=_told(caller), at=at)
    if number is None:
        return Problem(code="request-not-found", status=404, title="No such request", detail=_unknown(said))
    return {"request_id": said.request_id, "feedback": number}


def _told(caller: Caller) -> str:
    return caller.key_id or "anonymous"  # a user's name is kept nowhere


def _unknown(said: Feedback) -> str:
    return (
        f"{said.endpoint} has no request {said.request_id!r}. A request is known about a second after its answer, and "
        "until it is pruned."
    )
