from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from dspex_ray.data import load_data
from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.example import Example, make_example
from dspex_ray.metrics import (
    METRICS,
    Exact,
    MetricError,
    contains,
    default_metric,
    exact,
    numeric,
    resolve_metric,
    score,
)
from dspex_ray.programs.program import Program


def _example(**output: Any) -> Example:
    return make_example({"message": "x"}, output)


def test_exact_compares_only_what_the_data_gives(route: type[Program]) -> None:
    output = route.Output.parse({"intent": "cash", "confidence": 0.3})
    assert exact(_example(intent="cash"), output) == 1.0
    assert exact(_example(intent="card"), output) == 0.0
    assert exact(_example(intent="cash", confidence=1.0), output) == 0.0
    assert exact(_example(intent="cash"), {"intent": "cash"}) == 1.0


def test_exact_does_not_take_one_for_true_or_an_absent_field_for_none() -> None:
    assert exact(_example(sure=True), {"sure": 1}) == 0.0
    assert exact(_example(note=None), {}) == 0.0


def test_contains_is_the_share_of_texts_found() -> None:
    assert contains(_example(answer="Paris"), {"answer": "It is PARIS."}) == 1.0
    assert contains(_example(answer="Paris", year=1999), {"answer": "Rome", "year": 1999}) == 0.5


def test_numeric_allows_its_tolerance() -> None:
    assert numeric(0.5)(_example(n=3), {"n": 3.5}) == 1.0
    assert numeric(0.4)(_example(n=3), {"n": 3.5}) == 0.0
    assert numeric()(_example(n=3), {"n": "three"}) == 0.0
    with pytest.raises(MetricError, match="the data's 'n' is 'x', not a number"):
        numeric()(_example(n="x"), {"n": 3})
    with pytest.raises(ConfigurationError, match="tolerance"):
        numeric(-1)


def test_metrics_are_found_by_name_with_near_matches() -> None:
    assert resolve_metric("contains") is METRICS["contains"]
    assert resolve_metric(None) is exact
    assert resolve_metric(contains) is contains
    with pytest.raises(UnknownNameError, match="Did you mean 'exact'"):
        resolve_metric("exakt")
    with pytest.raises(ConfigurationError):
        resolve_metric(3)  # type: ignore[arg-type]


def test_the_default_metric_compares_the_fields_every_row_gives(route: type[Program]) -> None:
    rows = [{"message": "a", "intent": "cash", "confidence": 0.5}, {"message": "b", "intent": "card"}]
    assert default_metric(route, load_data(rows, route)) == Exact(("intent",))


def test_a_metric_may_be_awaited() -> None:
    async def half(example: Example, output: Any) -> float:
        return 0.5

    assert asyncio.run(score(half, _example(a=1), {}, 0)) == 0.5


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -0.1, 1.1, "1"])
def test_a_metric_without_a_number_from_0_to_1_names_the_row(value: Any) -> None:
    def odd(example: Example, output: Any) -> Any:
        return value

    with pytest.raises(MetricError, match=r"row 7 \(example .*must give a number from 0 to 1"):
        asyncio.run(score(odd, _example(a=1), {}, 7))


def test_a_metric_that_raises_names_the_row_and_keeps_the_cause() -> None:
    def broken(example: Example, output: Any) -> float:
        raise KeyError("label")

    with pytest.raises(MetricError, match=r"Metric broken failed on row 3 .*KeyError: 'label'") as caught:
        asyncio.run(score(broken, _example(a=1), {}, 3))
    assert isinstance(caught.value.__cause__, KeyError)
