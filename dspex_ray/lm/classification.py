"""Which error an answer that is not 200 means: one table over status, code and words, for every provider.

Codes and sentences as OpenAI, Azure, Anthropic, Google, vLLM, Ollama and llama.cpp send them; the first rule that
fits counts. What is said for a time (a rate) comes before what is said for good (a quota), and a sentence that names
the context window before the bare status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dspex_ray.errors import (
    LMAuthError,
    LMContentFilterError,
    LMContextWindowError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)

KEPT: Final = 500
"""Characters of a provider's own words that an error keeps."""

_CONTEXT: Final = (
    r"context[_ ](length|window|size)|exceed_context|(prompt|input|request) is too long|too many tokens"
    r"|input token count|input length|longer than the maximum model length|maximum number of tokens allowed"
)
_FILTER: Final = (
    r"content_filter|content[_ ]policy|content management policy|content filtering|responsibleaipolicy"
    r"|prohibited_content|blocked due to safety|blocked by safety"
)
_NO_CREDIT: Final = r"insufficient_quota|billing_error|billing_hard_limit|credit balance is too low|insufficient credit"
_WRONG_KEY: Final = r"api[_ ]key[_ ](not valid|invalid)|invalid_api_key|authentication_error|unauthenticated"
_CROWDED: Final = r"rate_limit|resource_exhausted|too many requests"
_OVERLOADED: Final = r"overloaded|server busy|unavailable_error|model is loading|loading model"

_KEY_ADVICE: Final = " Check the API key and what it is allowed to use."
_CREDIT_ADVICE: Final = " The account has no credit left; waiting does not help."
_CONTEXT_ADVICE: Final = " Use fewer demonstrations, shorter input, or a model with a longer context."
_FILTER_ADVICE: Final = " Change the input, or let another model answer (a name such as 'openai/a|openai/b')."
_RATE_ADVICE: Final = " Ask for less at a time, or raise the limit with the provider."


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error body as read: the provider's codes in one line, its sentence, and the seconds it asks to wait."""

    codes: str = ""
    said: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What an answer with one of `statuses` (any, if there are none) and `words` in its codes or sentence means."""

    kind: type[LMError]
    statuses: frozenset[int] = frozenset()
    words: str = ""
    advice: str = ""

    def fits(self, status: int, text: str) -> bool:
        """Return whether the rule is about this answer."""
        return (not self.statuses or status in self.statuses) and bool(re.search(self.words, text, re.IGNORECASE))


_FOUR: Final = frozenset(range(400, 500))
_FIVE: Final = frozenset(range(500, 600))
RULES: Final = (
    Rule(LMAuthError, frozenset({402}), advice=_CREDIT_ADVICE),
    Rule(LMAuthError, _FOUR, _NO_CREDIT, _CREDIT_ADVICE),
    Rule(LMRateLimitError, frozenset({429}), advice=_RATE_ADVICE),
    Rule(LMTimeoutError, frozenset({408, 504, 524})),
    Rule(LMContentFilterError, _FOUR, _FILTER, _FILTER_ADVICE),
    Rule(LMContextWindowError, _FOUR | _FIVE, _CONTEXT, _CONTEXT_ADVICE),
    Rule(LMContextWindowError, frozenset({413}), advice=_CONTEXT_ADVICE),
    Rule(LMAuthError, frozenset({401, 403}), advice=_KEY_ADVICE),
    Rule(LMAuthError, _FOUR, _WRONG_KEY, _KEY_ADVICE),
    Rule(LMRateLimitError, _FOUR, _CROWDED, _RATE_ADVICE),
    Rule(LMServerError, _FOUR, _OVERLOADED),
    Rule(LMServerError, _FIVE),
    Rule(LMServerError, frozenset({409, 425})),  # a lock or an early try: the same call may succeed at once
    Rule(LMError, frozenset({404}), advice=" Check the model's name and the base URL."),
)


def classify(status: int, complaint: Complaint) -> Rule:
    """Return the rule for an answer; a request that was refused for another reason is a plain LMError."""
    text = f"{complaint.codes} {complaint.said}"
    return next((rule for rule in RULES if rule.fits(status, text)), Rule(LMError))


def complaint_of(raw: bytes) -> Complaint:
    """Read an error body, whatever shape the provider gives it; never raises."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return Complaint(said=_sentence(raw[:KEPT].decode("utf-8", "replace")))
    if isinstance(body, list) and body:  # Google's OpenAI-compatible endpoint answers a list of one
        body = body[0]
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(error, Mapping):
        return Complaint(said=_sentence(str(error)))
    said = error.get("message") or error.get("detail") or json.dumps(error)
    return Complaint(_codes(error), _sentence(str(said)), _retry_delay(error))


def _codes(error: Mapping[str, Any]) -> str:
    """Return every code of an error object: OpenAI's code and type, Google's status and reason, Azure's inner code."""
    inner = error.get("innererror")
    found = [error.get(name) for name in ("code", "type", "status")]
    found += [inner.get("code")] if isinstance(inner, Mapping) else []
    found += [detail.get("reason") for detail in _details(error)]
    return " ".join(code for code in found if isinstance(code, str))


def _retry_delay(error: Mapping[str, Any]) -> float | None:
    """Return Google's RetryInfo, a duration such as `34.5s`."""
    for detail in _details(error):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay")))
        if match:
            return float(match[1])
    return None


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = error.get("details")
    return [detail for detail in details if isinstance(detail, Mapping)] if isinstance(details, list) else []


def _sentence(said: str) -> str:
    return " ".join(said[:KEPT].split()).rstrip(".")
