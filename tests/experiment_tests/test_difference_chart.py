"""The chart of a difference over time: nothing off the page, and nothing drawn of what is not known."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.experiments.chart import Look, difference_chart
from dspex_ray.experiments.metrics import METRICS

UNKNOWN = Look(-1.0, math.nan, -math.inf, math.inf)
_values = st.floats(-1e6, 1e6)
_widths = st.floats(1e-6, 1e6)


@given(st.lists(st.tuples(_values, _widths), min_size=1, max_size=30), st.sampled_from(sorted(METRICS)))
def test_every_point_is_on_the_page(drawn: list[tuple[float, float]], metric: str) -> None:
    looks = [Look(float(at), value, value - width, value + width) for at, (value, width) in enumerate(drawn)]
    svg = difference_chart([UNKNOWN, *looks], METRICS[metric], "4 less 3")
    places = [
        tuple(map(float, place.split(",")))
        for points in re.findall(r'points="([^"]*)"', svg)
        for place in points.split()
    ]
    assert len(places) == 3 * len(looks)
    assert all(0 <= x <= 640 and 0 <= y <= 240 for x, y in places)


def test_of_what_is_not_known_nothing_is_drawn() -> None:
    assert difference_chart([UNKNOWN, UNKNOWN], METRICS["latency"], "4 less 3") == ""
    assert difference_chart([], METRICS["latency"], "4 less 3") == ""


@pytest.mark.parametrize(("metric", "told"), [("success", "+3.0 (+1.0 to +5.0) points"), ("latency", "+30.0 (")])
def test_a_title_is_text_and_tells_the_end(metric: str, told: str) -> None:
    svg = difference_chart([Look(1.0, 0.03, 0.01, 0.05)], METRICS[metric], '<b>"4"')
    assert f"&lt;b&gt;&quot;4&quot;: {told}" in svg
    assert "<b>" not in svg
