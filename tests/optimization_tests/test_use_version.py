"""A running system takes another version of its program, without a restart and without a lost answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_ray.agent_system import AgentSystem, start_agent_system
from dspex_ray.errors import ProgramError, UnknownNameError, UsageError
from dspex_ray.store import Store


class Scaled(dspex.Program):
    """Multiply the number."""

    class Input(dspex.Schema):
        number: int

    class Output(dspex.Schema):
        result: int

    factor = dspex.Int(1, 100, default=1)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        return self.Output(result=input.number * self.factor)


def kept(store: Store, factor: int) -> int:
    return store.save_version(Scaled().with_values({"factor": factor}).state(), {}, now=1.0).number


@pytest.fixture
def system(store: Store) -> Iterator[AgentSystem]:
    with start_agent_system(Scaled(), workers=3, runtime="in-process", store=store) as started:
        yield started


def answers(system: AgentSystem) -> set[int]:
    return {system.run(number=number).result // number for number in range(1, 20)}


def test_every_worker_answers_with_the_version_that_is_put_into_use(system: AgentSystem, store: Store) -> None:
    assert answers(system) == {1}
    seven, nine = kept(store, 7), kept(store, 9)
    assert system.use_version(seven) == 1
    assert answers(system) == {7}
    assert system.use_version() == nine
    assert (answers(system), system.program.values["factor"]) == ({9}, 9)
    assert system.use_version(seven) == seven
    assert answers(system) == {7}
    assert system.use_version(0) == 0
    assert (answers(system), system.program.values["factor"]) == ({1}, 1)


def test_a_worker_that_is_restarted_comes_back_with_the_version_in_use(
    system: AgentSystem, store: Store, wait: Callable[..., None], kill_host: Callable[[AgentSystem, str], None]
) -> None:
    system.use_version(kept(store, 5))
    before = system.system.status("task-2").epoch
    kill_host(system, "task-2")
    wait(lambda: system.system.status("task-2").epoch > before, 10.0, "a new incarnation")
    assert answers(system) == {5}


def test_no_answer_is_lost_or_mixed_while_versions_change(system: AgentSystem, store: Store) -> None:
    numbers, done, seen = [kept(store, factor) for factor in (2, 3)], threading.Event(), []

    def ask(start: int) -> None:
        number = start
        while not done.is_set():
            result = system.run(number=number).result
            assert result % number == 0
            seen.append(result // number)
            number += 4

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, start) for start in range(1, 5)]
        for turn in range(10):
            system.use_version(numbers[turn % 2])
        done.set()
        for each in asking:
            each.result()
    assert {2, 3} <= set(seen) <= {1, 2, 3}


def test_a_version_that_is_not_there_or_does_not_fit_changes_nothing(system: AgentSystem, store: Store) -> None:
    with pytest.raises(UsageError, match="holds no versions yet"):
        system.use_version()
    kept(store, 4)
    with pytest.raises(UnknownNameError, match=r"version of .*Scaled '8'"):
        system.use_version(8)
    state = {**Scaled().state(), "values": {"factor": 4_000}}
    store.save_version(state, {}, now=1.0)
    with pytest.raises(ProgramError, match="factor: 4000 is not allowed"):
        system.use_version()
    assert answers(system) == {1}


def test_a_system_that_is_started_again_under_its_name_begins_with_its_own_program(store: Store) -> None:
    kept(store, 6)
    for _ in range(2):
        with start_agent_system(Scaled(), workers=1, runtime="in-process", store=store, name="again") as system:
            assert answers(system) == {1}
            system.use_version()
            assert answers(system) == {6}


@pytest.mark.ray
def test_on_ray_too(ray_cluster: str, store: Store) -> None:
    with start_agent_system(Scaled(), workers=2, store=store) as system:
        assert answers(system) == {1}
        system.use_version(kept(store, 8))
        assert answers(system) == {8}
