"""The bytes of a request say what its dialect says, whatever of it was encoded before."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.lm.base import ChatMessage, LMRequest
from dspex_ray.lm.dialect import Dialect
from dspex_ray.lm.encoded_body import encoded_body

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]} for name in ("a", "é")
]
messages = st.lists(
    st.builds(
        ChatMessage,
        st.sampled_from(["system", "user", "assistant"]),
        st.text(max_size=20),
        st.sampled_from([(), ("https://example.org/cat.png",)]),
    ),
    max_size=4,
)
requests = st.builds(
    lambda found, stable, **rest: LMRequest(messages=tuple(found), stable_messages=min(stable, len(found)), **rest),
    messages,
    st.integers(0, 4),
    temperature=st.none() | st.floats(0, 2),
    stop=st.sampled_from([(), ("\n", "end")]),
    response_schema=st.none() | st.sampled_from(SCHEMAS),
)
dialects = st.builds(
    Dialect,
    response_format=st.sampled_from(["json_schema", "json_object", "none"]),
    strict=st.booleans(),
    without=st.sampled_from([frozenset(), frozenset({"stop"})]),
)


@given(asked=st.lists(requests, min_size=1, max_size=3), dialect=dialects, stream=st.booleans())
def test_the_bytes_are_the_body_of_the_dialect_the_first_time_and_again(
    *, asked: list[LMRequest], dialect: Dialect, stream: bool
) -> None:
    for request in asked * 2:
        found = json.loads(encoded_body(dialect, "m", request, stream=stream))
        assert found == dialect.body("m", request, stream=stream)


def test_equal_messages_of_other_requests_are_not_mixed_up() -> None:
    for word in ["one", "two"] * 300:
        request = LMRequest(messages=(ChatMessage("system", word), ChatMessage("user", "x")), stable_messages=1)
        assert json.loads(encoded_body(Dialect(), "m", request, stream=False))["messages"][0]["content"] == word
