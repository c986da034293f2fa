"""The parts of BEACON: kernel, surrogate, acquisition, encoding, outcomes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_ndtr  # type: ignore[import-untyped] # scipy comes without types

from dspex_coordination import Bool, Choice, Demos, Float, Int, Space
from dspex_coordination.beacon.acquisition import Acquisition, log_improvement
from dspex_coordination.beacon.encoding import Encoding, tied
from dspex_coordination.beacon.gaussian_process import Data, Posterior, _loss, _priors, expected, fitted
from dspex_coordination.beacon.kernel import Floats
from dspex_coordination.beacon.outcomes import shapes
from dspex_coordination.conditions import V

MIXED = Space({"x": Float(0.0, 1.0), "n": Int(1, 5), "model": Choice(["a", "b", "c"]), "terse": Bool()})


def sampled(encoding: Encoding, count: int, seed: int = 0) -> tuple[Floats, Floats]:
    rows = np.random.Generator(np.random.PCG64(seed)).random((count, encoding.width))
    values = np.sin(4.0 * rows[:, 0]) + rows.sum(axis=1) ** 2
    return rows, (values - values.mean()) / values.std()


def posterior(count: int = 30) -> Posterior:
    encoding = Encoding(MIXED)
    rows, values = sampled(encoding, count)
    return Posterior(encoding, expected(encoding), Data(rows, values, np.zeros(count)))


def test_the_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    encoding = Encoding(MIXED)
    rows, values = sampled(encoding, 25)
    data = Data(rows, values, np.linspace(0.0, 0.1, 25))
    place = expected(encoding) + np.linspace(-0.5, 0.5, encoding.count + 3)
    _, slope = _loss(place, encoding, data, *_priors(encoding))
    for index, step in enumerate(1e-5 * np.eye(len(place))):
        above, _ = _loss(place + step, encoding, data, *_priors(encoding))
        below, _ = _loss(place - step, encoding, data, *_priors(encoding))
        assert slope[index] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-4)


def test_the_slopes_of_mean_and_variance_are_those_of_finite_differences() -> None:
    one = posterior()
    row = np.full(6, 0.3)
    _, _, mean_slope, variance_slope = one.slopes(row)
    for index, step in enumerate(1e-6 * np.eye(len(row))):
        means, variances = one.predict(np.stack([row + step, row - step]))
        assert mean_slope[index] == pytest.approx((means[0] - means[1]) / 2e-6, rel=1e-4, abs=1e-5)
        assert variance_slope[index] == pytest.approx((variances[0] - variances[1]) / 2e-6, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("best", [None, -1.0, 3.0, 40.0])
def test_the_slope_of_the_acquisition_is_that_of_finite_differences(best: float | None) -> None:
    one = Acquisition(posterior(), best, [posterior(12)])
    row = np.full(6, 0.7)
    value, slope = one.slope(row)
    assert value == pytest.approx(one.values(row[None])[0])
    for index, step in enumerate(1e-6 * np.eye(len(row))):
        above, below = one.values(np.stack([row + step, row - step]))
        assert slope[index] == pytest.approx((above - below) / 2e-6, rel=1e-3, abs=1e-3)


@given(st.floats(-1e7, 30.0))
def test_the_log_improvement_is_finite_and_below_that_of_its_bound(z: float) -> None:
    found = float(log_improvement(np.array([z]))[0])
    assert math.isfinite(found)
    assert found <= float(log_ndtr(z)) + math.log(max(z, 0.0) + 1.0) + 1e-9 or z > 0
    if z > -5.0:
        exact = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) + z * 0.5 * math.erfc(-z / math.sqrt(2))
        assert found == pytest.approx(math.log(exact), rel=1e-6, abs=1e-6)


def test_the_log_improvement_rises_everywhere() -> None:
    z = -np.geomspace(1e6, 1e-3, 4000)
    assert (np.diff(log_improvement(z)) > 0).all()


def test_the_surrogate_passes_through_what_it_saw() -> None:
    encoding = Encoding(MIXED)
    rows, values = sampled(encoding, 40)
    data = Data(rows, values, np.zeros(40))
    means, variances = Posterior(encoding, fitted(encoding, data, expected(encoding), 60)[0], data).predict(rows)
    assert np.abs(means - values).max() < 0.05
    assert variances.max() < 0.05


def test_results_on_few_rows_pull_less() -> None:
    encoding = Encoding(Space({"x": Float(0.0, 1.0)}))
    rows, values = np.array([[0.2], [0.5], [0.8]]), np.array([0.0, 2.0, 0.0])
    sure = Posterior(encoding, expected(encoding), Data(rows, values, np.zeros(3)))
    vague = Posterior(encoding, expected(encoding), Data(rows, values, np.array([0.0, 4.0, 0.0])))
    middle = np.array([[0.5]])
    assert vague.predict(middle)[0][0] < 0.7 * sure.predict(middle)[0][0]
    assert vague.predict(middle)[1][0] > sure.predict(middle)[1][0]


@given(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=30))
def test_results_of_any_size_get_a_finite_shape(results: list[float]) -> None:
    for shape in shapes(np.array(results)):
        assert np.isfinite(shape.values).all()
        assert math.isfinite(shape.stretch)
        assert np.abs(shape.values).max() < 10.0


def test_a_shape_keeps_the_order_of_results() -> None:
    results = np.array([-1e6, -3.0, -2.9, -1e-4, -50.0, 0.0])
    for shape in shapes(results):
        assert (np.argsort(shape.values, kind="stable") == np.argsort(results)).all()


def test_any_two_options_are_one_apart() -> None:
    space = Space({"model": Choice(["a", "b", "c", "d"]), "terse": Bool()})
    rows = Encoding(space).encode([{"model": model, "terse": False} for model in "abcd"])
    far = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    assert far == pytest.approx(1.0 - np.eye(4))


def test_an_inactive_variable_moves_no_two_candidates_apart() -> None:
    space = Space({"on": Bool(), "depth": Int(1, 9, default=9, when=V("on") == True), "x": Float(0, 1)})  # noqa: E712
    on, off = Encoding(space).encode([{"on": True, "depth": 5, "x": 0.5}, {"on": False, "depth": 9, "x": 0.5}])
    assert ((on - off) ** 2).sum() == pytest.approx(1.0)


def test_sets_are_as_far_apart_as_they_differ() -> None:
    space = Space({"demos": Demos(max=4)}).bind(("a", "b", "c", "d"), None)
    sets = [["a", "b"], ["b", "a"], ["a", "c"], ["c", "d"]]
    rows = Encoding(space).encode([{"demos": {"select": "fixed", "ids": one}} for one in sets])
    far = ((rows - rows[0]) ** 2).sum(axis=1)
    assert far == pytest.approx([0.0, 0.0, 0.5, 1.0])


def test_variables_that_others_depend_on_are_tied() -> None:
    space = Space(
        {
            "provider": Choice(["north", "south"]),
            "heat": Float(0, 2, when=V("provider") == "north"),
            "tokens": Int(1, 16, default=2),
            "window": Int(4, 16),
            "free": Float(0, 1),
        },
        [V("tokens") <= V("window")],
    )
    assert tied(space) == {"provider", "tokens", "window"}
    encoding = Encoding(space)
    names = {"provider": "south", "heat": 0.0, "tokens": 2, "window": 4, "free": 0.5}
    assert [block.name for block in encoding.movable(names)] == ["free"]


def test_a_row_decodes_to_the_values_it_was_made_of() -> None:
    encoding = Encoding(MIXED)
    values = {"x": 0.25, "n": 4, "model": "c", "terse": True}
    assert encoding.decode(encoding.encode([values])[0], MIXED.default().values, encoding.free) == values
