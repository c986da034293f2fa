"""Routing by pattern: against a regular expression, in a fixed order, quick with many routes."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_agents import PatternError, SignalRoute, SignalRouter

_segments = st.sampled_from(["a", "b", "ab", "*", "**"])
_patterns = (
    st.lists(_segments, min_size=1, max_size=5)
    .filter(lambda parts: all(pair != ("**", "**") for pair in itertools.pairwise(parts)))
    .map(".".join)
)
_types = st.lists(st.sampled_from(["a", "b", "ab", "", "+"]), min_size=1, max_size=6).map(".".join)


def fits(pattern: str, type_: str) -> bool:
    """Decide by a regular expression over segments that each end in a dot."""
    parts = {"*": r"[^.]*\.", "**": r"(?:[^.]*\.)*"}
    expression = "".join(parts.get(segment, re.escape(segment) + r"\.") for segment in pattern.split("."))
    return re.fullmatch(expression, type_ + ".") is not None


@settings(deadline=None, max_examples=500)  # a busy machine is no failure
@given(patterns=st.lists(_patterns, max_size=12), types=st.lists(_types, max_size=6))
def test_a_type_reaches_exactly_the_routes_whose_regular_expression_it_fits(
    patterns: list[str], types: list[str]
) -> None:
    router = SignalRouter([SignalRoute(pattern, n) for n, pattern in enumerate(patterns)])
    for type_ in types * 2:  # the second time from memory
        expected = {n for n, pattern in enumerate(patterns) if fits(pattern, type_)}
        got = [route.target for route in router.match(type_)]
        assert set(got) == expected
        assert len(got) == len(expected)


def test_higher_priority_comes_first_then_the_more_specific_then_the_earlier() -> None:
    routes = [
        SignalRoute("**", "all"),
        SignalRoute("a.*", "star"),
        SignalRoute("a.b", "first"),
        SignalRoute("a.b", "second"),
        SignalRoute("a.**", "below a"),
        SignalRoute("*.*", "two"),
        SignalRoute("**", "urgent", priority=100),
        SignalRoute("a.b", "late", priority=-1),
    ]
    expected = ["urgent", "first", "second", "star", "two", "below a", "all", "late"]
    assert [route.target for route in SignalRouter(routes).match("a.b")] == expected


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("", "nothing in segment 1"),
        ("a..b", "nothing in segment 2"),
        ("a.b.", "nothing in segment 3"),
        ("a.b*", "fills a whole segment"),
        ("***", "fills a whole segment"),
        ("a.**.**.b", "twice in a row"),
        (7, "must be text"),
    ],
)
def test_a_bad_pattern_is_a_named_error(pattern: str, told: str) -> None:
    with pytest.raises(PatternError, match=told):
        SignalRoute(pattern, None)


@pytest.mark.parametrize("priority", [101, -101, 1.5, True])
def test_a_priority_out_of_range_is_a_named_error(priority: int) -> None:
    with pytest.raises(PatternError, match="priority"):
        SignalRoute("a", None, priority)


def test_a_pattern_of_many_wildcards_does_not_blow_up() -> None:
    router = SignalRouter([SignalRoute(".".join(["**", "a"] * 20) + ".z", None)])
    assert router.match(".".join(["a"] * 400)) == ()


def test_a_thousand_routes_are_matched_in_microseconds() -> None:
    router = SignalRouter([SignalRoute(f"area{n % 50}.*.kind{n}", n) for n in range(998)] + [SignalRoute("**", -1)])
    times = []
    for n in range(200):
        started = time.perf_counter()
        assert len(router.match(f"area{n % 50}.x.kind{n}")) == 2
        times.append(time.perf_counter() - started)
    assert min(times) < 100e-6  # about 5 on an idle machine; walking all routes takes far longer
