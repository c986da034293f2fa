"""Looking at an experiment again and again, through the store, makes no difference out of none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dspex_ray.experiments.analysis import Finding
from dspex_ray.traffic.plan import TrafficPlan
from tests.support.experiment_scene import Scene, dealt

ALPHA, EXPERIMENTS, USERS, LOOKS = 0.2, 40, 300, 8


@pytest.mark.parametrize("unit", ["user", "request"])
def test_equal_versions_are_called_different_in_at_most_the_stated_share_of_experiments(
    tmp_path: Path, unit: str
) -> None:
    scene, by_request = Scene(tmp_path / "s.db"), unit == "request"
    wrong = wrong_by_a_test_for_one_look = 0
    for number in range(EXPERIMENTS):
        endpoint = f"shop-{number}"
        scene.deploy(endpoint, TrafficPlan.all_to("carried"))
        told = {"endpoint": endpoint, "alpha": ALPHA, "metrics": ("success", "latency"), "by_request": by_request}
        name = scene.start(f"e{number}", **told).name
        rows = list(dealt(scene.plans.current(endpoint), USERS, {"carried": 0.7, "1": 0.7}, seed=number))
        if by_request:
            rows = [{**row, "unit": "r" + row["unit"][1:]} for row in rows]
        else:  # users come again, alike each time
            rows += [{**row, "request_id": f"{row['request_id']} again"} for row in rows[::3]]
        seen: list[tuple[Finding, ...]] = []
        for look in range(LOOKS):
            scene.requests.write(rows[look::LOOKS])
            seen.append(scene.experiments.status(name).findings)
        wrong += any(found.verdict != "open" for findings in seen for found in findings)
        wrong_by_a_test_for_one_look += any(differs_at_one_look(findings[0]) for findings in seen)
    assert wrong / EXPERIMENTS <= ALPHA
    assert wrong_by_a_test_for_one_look / EXPERIMENTS > ALPHA  # what looking does to one metric at half the level


def differs_at_one_look(found: Finding) -> bool:
    """Compare rates by the usual z-test at half of ALPHA."""
    (n, m), (one, other) = found.values, found.means
    rate = (n * one + m * other) / (n + m)
    return abs(one - other) > 1.6449 * math.sqrt(rate * (1 - rate) * (1 / n + 1 / m))
