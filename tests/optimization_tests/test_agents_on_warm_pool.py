"""A program as a system on the processes of a warm pool."""

from __future__ import annotations

import pytest
from served_programs import Echo
from test_warm_pool_ray import standing_by

from dspex_agents.runtime.ray_runtime import cool_down, warm_up
from dspex_ray.store import Store


@pytest.mark.ray
def test_a_program_answers_from_processes_that_stood_by(ray_cluster: str, store: Store) -> None:
    assert warm_up(2, preload=["dspex_ray.program_worker"]) == 2
    ready = set(standing_by().values())
    try:
        with Echo().to_agent_system(store=store, workers=1) as system:
            answers = [system.run(message=str(number)) for number in range(5)]
            assert [answer.message for answer in answers] == [str(number) for number in range(5)]
            assert {answer.pid for answer in answers} <= ready
            assert system.health().alive == len(system.tree().agents())
    finally:
        cool_down()
