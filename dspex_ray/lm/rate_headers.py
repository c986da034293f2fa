"""What a provider says of its rates in headers: when to come back, and how much is left.

| header                                                | read as                                                    |
|-------------------------------------------------------|------------------------------------------------------------|
| `retry-after-ms`                                      | milliseconds                                               |
| `retry-after`                                         | seconds, or an HTTP date (RFC 9110, 10.2.3)                |
| `x-ratelimit-remaining-{requests,tokens}`             | what is left (OpenAI, Groq, vLLM gateways)                 |
| `x-ratelimit-reset-{requests,tokens}`                 | a span: `20ms`, `1s`, `6m0s`, or bare seconds              |
| `anthropic-ratelimit-{requests,tokens}-{remaining,reset}` | what is left; an RFC 3339 time                         |

A time is read against the answer's own `Date`, so that no clock of ours is compared with the provider's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_S = 86400.0


@dataclass(frozen=True, slots=True)
class RateNews:
    """How much of a rate is left, None where nothing is said, and after how many seconds more is there again."""

    requests_left: int | None = None
    requests_reset_s: float | None = None
    tokens_left: int | None = None
    tokens_reset_s: float | None = None

    @property
    def wait_s(self) -> float | None:
        """The seconds until something is left of what is used up; None when nothing is."""
        pairs = ((self.requests_left, self.requests_reset_s), (self.tokens_left, self.tokens_reset_s))
        waits = [reset for left, reset in pairs if left is not None and left <= 0 and reset is not None]
        return max(waits, default=None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which the provider wants to be asked again, at most a day; None if it does not say."""
    millis, seconds = _number(headers.get("retry-after-ms")), _number(headers.get("retry-after"))
    if millis is not None:
        return min(millis / 1000, _LONGEST_S)
    if seconds is not None:
        return min(seconds, _LONGEST_S)
    at = _http_date(headers.get("retry-after"))
    return _until(at, headers) if at is not None else rate_news(headers).wait_s


def rate_news(headers: Mapping[str, str]) -> RateNews:
    """Return what the headers of an answer say of the rates; never raises."""
    requests, tokens = _left_of("requests", headers), _left_of("tokens", headers)
    return RateNews(*requests, *tokens)


def _left_of(kind: str, headers: Mapping[str, str]) -> tuple[int | None, float | None]:
    """Return how many of a kind are left, and the seconds until more are."""
    said = headers.get(f"x-ratelimit-remaining-{kind}") or headers.get(f"anthropic-ratelimit-{kind}-remaining")
    left = _number(said)
    if left is None:
        return None, None
    reset_s = _span(headers.get(f"x-ratelimit-reset-{kind}"))
    if reset_s is None:
        reset_s = _until(_timestamp(headers.get(f"anthropic-ratelimit-{kind}-reset")), headers)
    return int(left), reset_s


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _span(text: str | None) -> float | None:
    """Return a span such as `1h2m3.5s` in seconds; bare digits are seconds."""
    number = _number(text)
    if number is not None or text is None:
        return None if number is None else min(number, _LONGEST_S)
    parts = _SPAN.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text.strip():
        return None
    return min(sum(float(amount) * _UNITS_S[unit] for amount, unit in parts), _LONGEST_S)


def _http_date(text: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError):
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _timestamp(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _until(at: datetime | None, headers: Mapping[str, str]) -> float | None:
    """Return the seconds from the answer's own date to a time, never negative; None without either."""
    sent = _http_date(headers.get("date"))
    return None if at is None or sent is None else min(max(0.0, (at - sent).total_seconds()), _LONGEST_S)
