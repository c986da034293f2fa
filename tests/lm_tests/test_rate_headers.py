"""What providers say of their rates in headers, read without a clock of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.lm.rate_headers import RateNews, rate_news, retry_after_s

_DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": _DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:30 GMT", "date": _DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon", "date": _DATE}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, 86400.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({}, None),
    ],
)
def test_when_to_ask_again_is_read_from_whatever_the_provider_sends(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("headers", "news"),
    [
        (
            {
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1m2.5s",
            },
            RateNews(59, 1.0, 0, 62.5),
        ),
        (
            {
                "date": _DATE,
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-10-21T07:28:12Z",
            },
            RateNews(0, 12.0, None, None),
        ),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, RateNews(None, None, 0, 0.02)),
        ({"x-ratelimit-remaining-tokens": "many", "x-ratelimit-reset-tokens": "20ms"}, RateNews()),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "later"}, RateNews(None, None, 0, None)),
    ],
)
def test_what_is_left_of_a_rate_is_read_with_the_time_until_there_is_more(
    headers: dict[str, str], news: RateNews
) -> None:
    assert rate_news(headers) == news


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "date",
                "retry-after",
                "retry-after-ms",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
                "anthropic-ratelimit-tokens-reset",
            ]
        ),
        st.text(max_size=12) | st.just(_DATE) | st.just("2026-10-21T07:28:12Z") | st.just("1m2s") | st.just("0"),
    )
)
def test_any_header_is_read_as_a_bounded_time_or_none(headers: dict[str, str]) -> None:
    for seconds in (retry_after_s(headers), rate_news(headers).wait_s):
        assert seconds is None or 0 <= seconds <= 86400
