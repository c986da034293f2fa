"""Fronts, crowding and hypervolume, against brute force and against volumes known in closed form."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination.objectives import contributions, crowding_distance, domination, hypervolume, ranks

GRID = st.integers(0, 4)


def points(dimensions: int, most: int = 12) -> st.SearchStrategy[list[tuple[int, ...]]]:
    return st.lists(st.tuples(*[GRID] * dimensions), min_size=1, max_size=most)


def array(rows: object) -> np.ndarray:  # type: ignore[type-arg] # of whatever numbers the test gives
    return np.array(rows, dtype=np.float64)


@given(points(3), st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0]), min_size=12, max_size=12))
def test_a_point_dominates_as_deb_defines_it(rows: list[tuple[int, ...]], broken: list[float]) -> None:
    violations = broken[: len(rows)]
    matrix = domination(array(rows), array(violations))
    for i, j in itertools.product(range(len(rows)), repeat=2):
        pareto = rows[i] != rows[j] and all(a >= b for a, b in zip(rows[i], rows[j], strict=True))
        expected = violations[i] < violations[j] or (violations[i] == violations[j] and pareto)
        assert matrix[i, j] == expected


@given(points(3))
def test_a_points_front_is_one_after_the_last_front_that_dominates_it(rows: list[tuple[int, ...]]) -> None:
    matrix, result = domination(array(rows)), ranks(array(rows))
    for index in range(len(rows)):
        above = [int(result[other]) for other in range(len(rows)) if matrix[other, index]]
        assert result[index] == max(above, default=-1) + 1


def test_three_thousand_points_are_sorted_in_seconds() -> None:
    cloud = np.random.Generator(np.random.PCG64(1)).random((3000, 3))
    result = ranks(cloud)
    best = int(np.argmax(cloud[:, 0]))
    assert result[best] == 0
    assert set(result) == set(range(int(result.max()) + 1))


def test_points_of_another_shape_or_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="table"):
        ranks(array([1.0, 2.0]))
    with pytest.raises(ValueError, match="finite"):
        ranks(array([[1.0, math.nan]]))
    with pytest.raises(ValueError, match="as many violations"):
        ranks(array([[1.0, 2.0]]), array([0.0, 0.0]))


def test_crowding_is_the_share_of_the_range_between_the_neighbours() -> None:
    distance = crowding_distance(array([[0, 10], [1, 8], [4, 2], [10, 0]]))
    assert distance[[0, 3]].tolist() == [math.inf, math.inf]
    assert distance[1] == pytest.approx(0.4 + 0.8)
    assert distance[2] == pytest.approx(0.9 + 0.8)
    assert crowding_distance(array([[1, 1]])).tolist() == [math.inf]


def test_equal_points_are_crowded() -> None:
    distance = crowding_distance(array([[0, 4], [2, 2], [2, 2], [2, 2], [4, 0]]))
    assert min(distance) == 0.0


def cells(rows: list[tuple[int, ...]], dimensions: int) -> int:
    """Count the unit cells of the grid that the boxes cover."""
    corners = itertools.product(range(4), repeat=dimensions)
    return sum(any(all(c < p for c, p in zip(corner, row, strict=True)) for row in rows) for corner in corners)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
def test_hypervolume_is_the_number_of_cells_the_boxes_cover(dimensions: int) -> None:
    rng = random.Random(dimensions)
    for _ in range(60):
        rows = [tuple(rng.randint(0, 4) for _ in range(dimensions)) for _ in range(rng.randint(1, 12))]
        assert hypervolume(array(rows), np.zeros(dimensions)) == pytest.approx(cells(rows, dimensions))


@given(points(3, most=8))
def test_a_contribution_is_what_the_volume_loses_without_the_point(rows: list[tuple[int, ...]]) -> None:
    zero, cloud = np.zeros(3), array(rows)
    whole = hypervolume(cloud, zero)
    expected = [whole - hypervolume(np.delete(cloud, index, axis=0), zero) for index in range(len(rows))]
    assert contributions(cloud, zero) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
def test_hypervolume_of_the_corners_of_a_simplex_is_known(dimensions: int) -> None:
    """The boxes [0, 2] in one coordinate and [0, 1] in the others: inclusion and exclusion give d + 1 unit cubes."""
    rows = np.ones((dimensions, dimensions)) + np.eye(dimensions)
    assert hypervolume(rows, np.zeros(dimensions)) == pytest.approx(dimensions + 1)


def test_hypervolume_of_a_fine_sphere_approaches_an_eighth_of_the_ball() -> None:
    """DTLZ2's front seen from the origin: 900 points on the unit sphere, maximised, below pi / 6 and near it."""
    angles = (np.arange(30) + 0.5) / 30 * math.pi / 2
    first, second = (grid.ravel() for grid in np.meshgrid(angles, angles))
    sphere = np.stack([np.cos(first) * np.cos(second), np.cos(first) * np.sin(second), np.sin(first)], axis=1)
    assert 0.94 * math.pi / 6 < hypervolume(sphere, np.zeros(3)) < math.pi / 6


def test_hypervolume_of_zdt1s_front_is_its_integral() -> None:
    """Minimise (x, 1 - sqrt x) below (1, 1): the area is the integral of sqrt x, which is 2/3."""
    x = np.linspace(0, 1, 20001)
    front = np.stack([-x, np.sqrt(x) - 1], axis=1)
    assert hypervolume(front, array([-1.0, -1.0])) == pytest.approx(2 / 3, abs=1e-4)


def test_points_beyond_the_reference_add_nothing() -> None:
    assert hypervolume(array([[2.0, -1.0], [0.0, 5.0]]), np.zeros(2)) == 0.0
    assert hypervolume(np.zeros((0, 3)), np.zeros(3)) == 0.0
    assert hypervolume(array([[3.0, 3.0], [2.0, -1.0]]), np.ones(2)) == 4.0


def test_a_reference_of_other_size_or_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="as many coordinates"):
        hypervolume(array([[1.0, 1.0]]), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        hypervolume(array([[1.0, math.inf]]), np.zeros(2))
