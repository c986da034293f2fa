"""Problem details (RFC 9457): which error becomes which HTTP answer, and back again on the client's side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dspex_ray.errors import (
    BudgetExceededError,
    ClusterError,
    ConfigurationError,
    DspexError,
    InputError,
    LedgerGoneError,
    LMAuthError,
    LMBadReplyError,
    LMConnectionError,
    LMContextWindowError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    OutputError,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:dspex:problem:"
DEFAULT_RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error answer. `code` ends its `type` URN; `errors` lists bad fields as (path, message).

    `members` are its extension members (RFC 9457, section 3.2).
    """

    code: str
    status: int
    title: str
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self, request_id: str) -> dict[str, Any]:
        """Return the body: type, title, status, detail, request_id, extensions and, when fields are bad, errors."""
        body: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.members,
        }
        if self.errors:
            body["errors"] = [{"path": path, "message": message} for path, message in self.errors]
        return body

    def all_headers(self) -> dict[str, str]:
        """Return the headers this problem brings, `retry-after` in whole seconds (rounded up) among them."""
        if self.retry_after_s is None:
            return dict(self.headers)
        return {**self.headers, "retry-after": str(max(1, math.ceil(self.retry_after_s)))}


def too_large(limit_bytes: int) -> Problem:
    """Return the answer to a body above the limit."""
    detail = f"The body is larger than this endpoint's limit of {limit_bytes} bytes."
    return Problem(code="body-too-large", status=413, title="The body is too large", detail=detail)


def not_json(content_type: str) -> Problem:
    """Return the answer to a body that does not claim to be JSON."""
    detail = f"The content type is {content_type[:100]!r}; send the input with `content-type: application/json`."
    return Problem(code="unsupported-media-type", status=415, title="The body must be JSON", detail=detail)


def malformed(reason: str) -> Problem:
    """Return the answer to a body that is not JSON, whatever it claims."""
    return Problem(code="malformed-json", status=400, title="The body is not valid JSON", detail=reason)


def invalid_input(errors: tuple[tuple[str, str], ...]) -> Problem:
    """Return the answer to an input that breaks its schema, with every bad field."""
    detail = "; ".join(f"{path or 'the input'}: {message}" for path, message in errors)
    return Problem(code="invalid-input", status=422, title="The input breaks its schema", detail=detail, errors=errors)


def no_budget(error: BudgetExceededError) -> Problem:
    """Return the answer to a request whose model call a hard budget has no room for: which, and when it renews."""
    renews_at = None if error.renews_at is None else datetime.fromtimestamp(error.renews_at, UTC).isoformat()
    told = f"The budget {error.budget} ({error.caps})"
    if error.spent:
        renewed = "" if renews_at is None else f" It renews at {renews_at}."
        detail = f"{told} has no room for this call: {error.spent}.{renewed}"
    else:
        detail = f"{told} cannot be held, since the price of this endpoint's model is not known. Its operator must act."
    members = {"budget": error.budget, "limit": error.caps, "spent": error.spent or None, "renews_at": renews_at}
    title = "A budget has no room for the model call"
    return Problem(code="budget-exceeded", status=402, title=title, detail=detail, members=members)


def of_status(status: int, detail: str, headers: Mapping[str, str]) -> Problem:
    """Return the answer to a request that reached no program: unknown path, wrong method, overload."""
    codes = {404: ("not-found", "Not found"), 405: ("method-not-allowed", "Method not allowed")}
    codes[503] = ("overloaded", "Overloaded")
    code, title = codes.get(status, ("error", "Error"))
    return Problem(code=code, status=status, title=title, detail=detail, headers=headers)


_INTERNAL = Problem(
    code="internal",
    status=500,
    title="Internal error",
    detail="The program failed. The cause is in the replica's log under this request id.",
)

_TIMEOUT = Problem(
    code="timeout", status=504, title="The answer took too long", detail="No answer within the request's time limit."
)

# The first matching class decides. Details are fixed texts: a provider's message may hold a part of a key or a prompt.
_OF_ERROR: tuple[tuple[type[Exception], Problem], ...] = (
    (
        LMRateLimitError,
        Problem(
            code="model-rate-limit",
            status=429,
            title="The model's rate limit is reached",
            detail="The model's provider refuses more requests for now. Try again later.",
            retry_after_s=DEFAULT_RETRY_AFTER_S,
        ),
    ),
    (
        LMTimeoutError,
        Problem(
            code="model-timeout",
            status=504,
            title="The model took too long",
            detail="The model gave no answer within the time limit.",
        ),
    ),
    (
        LedgerGoneError,
        Problem(
            code="ledger-unreachable",
            status=503,
            title="The ledger cannot be reached",
            detail="Whoever keeps the budgets of this endpoint does not answer, so the model was not asked.",
            retry_after_s=DEFAULT_RETRY_AFTER_S,
        ),
    ),
    (
        LMConnectionError,
        Problem(
            code="model-unreachable",
            status=503,
            title="The model cannot be reached",
            detail="The model's endpoint cannot be reached, or cut the connection.",
            retry_after_s=DEFAULT_RETRY_AFTER_S,
        ),
    ),
    (
        LMServerError,
        Problem(
            code="model-server-error",
            status=502,
            title="The model's provider failed",
            detail="The model's provider answered with an error of its own.",
        ),
    ),
    (
        LMAuthError,
        Problem(
            code="model-auth",
            status=502,
            title="The model refuses this endpoint's key",
            detail="The key this endpoint uses for its model is missing or refused. Its operator must set it.",
        ),
    ),
    (
        LMContextWindowError,
        Problem(
            code="input-too-long",
            status=422,
            title="The input is too long for the model",
            detail="The input, with the program's instruction and examples, does not fit the model. Shorten it.",
        ),
    ),
    (
        LMBadReplyError,
        Problem(
            code="model-bad-reply",
            status=502,
            title="The model's reply is unreadable",
            detail="The model's provider sent a reply that does not follow its protocol.",
        ),
    ),
    (
        LMError,
        Problem(code="model-failed", status=502, title="The model call failed", detail="The model call failed."),
    ),
    (
        OutputError,
        Problem(
            code="invalid-output",
            status=502,
            title="The model's reply is no valid output",
            detail="The model's reply did not become a valid output of this program.",
        ),
    ),
    (TimeoutError, _TIMEOUT),
)


def of_error(error: Exception) -> Problem:
    """Return the answer to an exception a program raised. What is not ours becomes a 500 that tells nothing."""
    if isinstance(error, InputError):
        return invalid_input(error.problems or (("", error.message),))
    if isinstance(error, BudgetExceededError):
        return no_budget(error)
    problem = next((problem for kind, problem in _OF_ERROR if isinstance(error, kind)), _INTERNAL)
    if isinstance(error, LMRateLimitError) and error.retry_after_s is not None:
        return Problem(
            code=problem.code,
            status=problem.status,
            title=problem.title,
            detail=problem.detail,
            retry_after_s=error.retry_after_s,
        )
    return problem


_ERROR_OF: dict[str, Callable[[str], DspexError]] = {
    "invalid-output": OutputError,
    "model-timeout": LMTimeoutError,
    "timeout": LMTimeoutError,
    "model-unreachable": LMConnectionError,
    "ledger-unreachable": LedgerGoneError,
    "model-server-error": LMServerError,
    "model-auth": LMAuthError,
    "input-too-long": LMContextWindowError,
    "model-bad-reply": LMBadReplyError,
    "model-failed": LMError,
    "overloaded": ClusterError,
    "not-found": ConfigurationError,
}


def to_error(body: Mapping[str, Any], retry_after: str | None) -> DspexError:
    """Return the error an endpoint's problem stands for, so that a remote call fails like a local one."""
    code = str(body.get("type", "")).removeprefix(TYPE_PREFIX)
    text = f"{body.get('detail') or body.get('title') or 'no detail'} (request {body.get('request_id', 'unknown')})"
    if code == "invalid-input":
        problems = tuple((str(item["path"]), str(item["message"])) for item in body.get("errors", ()))
        return InputError(text, problems)
    if code == "model-rate-limit":
        return LMRateLimitError(text, status=429, retry_after_s=float(retry_after) if retry_after else None)
    if code == "budget-exceeded":
        return _budget_error(body, text)
    return _ERROR_OF.get(code, DspexError)(text)


def _budget_error(body: Mapping[str, Any], text: str) -> BudgetExceededError:
    renews_at = body.get("renews_at")
    at = None if renews_at is None else datetime.fromisoformat(renews_at).timestamp()
    budget, limit, spent = (str(body.get(name) or "") for name in ("budget", "limit", "spent"))
    return BudgetExceededError(text, budget, limit, spent, at)
