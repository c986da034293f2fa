"""Bulkheads: bounded work, bounded waiting, in order, and nothing lost when somebody gives up."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents import ManualClock
from dspex_agents.errors import SpecError
from dspex_agents.services.bulkhead import Bulkhead, BulkheadSettings, Compartment, OverloadedError

TWO = BulkheadSettings(concurrency=2, max_waiting=2, timeout_s=30.0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - other tasks take a turn each time
            await asyncio.sleep(0)


def waiting(bulkhead: Bulkhead) -> int:
    return sum(status.waiting for status in bulkhead.status().values())


class Works:
    """Work that lasts until it is let go, by number; notes the order of the beginnings."""

    def __init__(self, bulkhead: Bulkhead, key: str = "k") -> None:
        self.bulkhead, self.key = bulkhead, key
        self.begun: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}

    def start(self, number: int, timeout_s: float | None = None) -> asyncio.Task[int]:
        self.gates[number] = asyncio.Event()

        async def work() -> int:
            self.begun.append(number)
            await self.gates[number].wait()
            return number

        return asyncio.create_task(self.bulkhead.run(self.key, work, timeout_s=timeout_s))


def test_so_many_run_so_many_wait_and_the_rest_is_refused_with_an_estimate() -> None:
    async def scene() -> None:
        clock = ManualClock()
        bulkhead = Bulkhead(clock, TWO)
        works = Works(bulkhead)
        tasks = [works.start(n) for n in range(4)]
        await until(lambda: waiting(bulkhead) == 2)
        with pytest.raises(OverloadedError, match=r"2 are under way and 2 wait; ask again in 1\.5 s"):
            await bulkhead.run("k", lambda: asyncio.sleep(0))
        assert works.begun == [0, 1]
        clock.advance(4.0)
        works.gates[1].set()
        assert await tasks[1] == 1
        await until(lambda: works.begun == [0, 1, 2])
        for gate in works.gates.values():
            gate.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
        status = bulkhead.status()["k"]
        assert (status.running, status.waiting, status.done, status.refused, status.expired) == (0, 0, 4, 1, 0)
        assert status.mean_s is not None
        assert status.mean_s > 2.0, "the next estimate goes by how long work took"

    asyncio.run(scene())


def test_keys_do_not_get_into_each_others_way_and_have_their_own_settings() -> None:
    async def scene() -> None:
        bulkhead = Bulkhead(ManualClock(), TWO, by_key={"slow": BulkheadSettings(concurrency=1, max_waiting=0)})
        slow = Works(bulkhead, "slow")
        task = slow.start(0)
        await until(lambda: slow.begun == [0])
        with pytest.raises(OverloadedError, match="'slow'"):
            await slow.start(1)
        assert await bulkhead.run("quick", lambda: asyncio.sleep(0, "done")) == "done"
        slow.gates[0].set()
        await task

    asyncio.run(scene())


def test_who_waits_in_vain_is_told_so_and_was_not_begun() -> None:
    async def scene() -> None:
        bulkhead = Bulkhead(ManualClock(), TWO)
        works = Works(bulkhead)
        tasks = [works.start(0), works.start(1)]
        await until(lambda: len(works.begun) == 2)
        with pytest.raises(OverloadedError) as caught:
            await works.start(2, timeout_s=0.01)
        assert caught.value.executed is False
        assert works.begun == [0, 1]
        assert bulkhead.status()["k"].expired == 1
        for gate in works.gates.values():
            gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(scene())


def test_work_over_its_deadline_is_cut_off_and_leaves_its_place() -> None:
    async def scene() -> None:
        bulkhead = Bulkhead(ManualClock(), BulkheadSettings(concurrency=1))
        works = Works(bulkhead)
        with pytest.raises(TimeoutError, match=r"'k' was cut off: not done within 0\.01 s"):
            await works.start(0, timeout_s=0.01)
        assert bulkhead.status()["k"].running == 0

        async def own_timeout() -> None:
            raise TimeoutError("its own")

        with pytest.raises(TimeoutError, match="its own"):
            await bulkhead.run("k", own_timeout)

    asyncio.run(scene())


def test_a_turn_that_comes_while_its_owner_is_cancelled_goes_to_the_next() -> None:
    async def scene() -> None:
        bulkhead = Bulkhead(ManualClock(), BulkheadSettings(concurrency=1, max_waiting=5))
        works = Works(bulkhead)
        async with bulkhead.slot("k"):
            second, third = works.start(2), works.start(3)
            await until(lambda: waiting(bulkhead) == 2)
        second.cancel()  # its turn has come in the line before, but it did not run since
        await until(lambda: works.begun == [3])
        works.gates[3].set()
        assert await third == 3
        status = bulkhead.status()["k"]
        assert (status.running, status.waiting, status.done, status.expired) == (0, 0, 2, 1)

    asyncio.run(scene())


def test_the_number_of_keys_is_bounded_and_an_idle_one_makes_room() -> None:
    async def scene() -> None:
        bulkhead = Bulkhead(ManualClock(), TWO, most_keys=1)
        works = Works(bulkhead, "a")
        task = works.start(0)
        await until(lambda: works.begun == [0])
        with pytest.raises(OverloadedError, match="'b'"):
            await bulkhead.run("b", lambda: asyncio.sleep(0))
        works.gates[0].set()
        await task
        await bulkhead.run("b", lambda: asyncio.sleep(0))
        assert list(bulkhead.status()) == ["b"]

    asyncio.run(scene())


def test_the_error_travels() -> None:
    error = pickle.loads(pickle.dumps(OverloadedError("k", 2, 3, 1.5)))
    assert (error.what, error.running, error.waiting, error.retry_after_s) == ("k", 2, 3, 1.5)
    assert (error.retryable, error.executed) == (True, False)


@pytest.mark.parametrize(("field", "value"), [("concurrency", 0), ("max_waiting", -1), ("timeout_s", 0)])
def test_a_bad_setting_is_named(field: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"bulkhead.{field} must"):
        BulkheadSettings(**{field: value})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="timeout_s"):
        BulkheadSettings(timeout_s=float("nan"))
    with pytest.raises(SpecError, match="most_keys must be at least 1"):
        Bulkhead(ManualClock(), most_keys=0)


@given(st.lists(st.tuples(st.sampled_from(["enter", "enter", "leave", "give up"]), st.integers(0, 9)), max_size=80))
def test_never_more_than_allowed_run_and_turns_come_in_the_order_of_arrival(steps: list[tuple[str, int]]) -> None:
    compartment = Compartment("k", BulkheadSettings(concurrency=2, max_waiting=3))
    running: list[int] = []
    waiting: list[int] = []
    for ticket, (step, which) in enumerate(steps):
        if step == "enter":
            try:
                begun = compartment.enter(ticket, 0.0)
            except OverloadedError:
                assert len(waiting) == 3
                continue
            (running if begun else waiting).append(ticket)
            assert begun == (len(running) <= 2 and not waiting)
        elif step == "leave" and running:
            following = compartment.leave(running.pop(which % len(running)), 1.0)
            assert following == (waiting[0] if waiting else None)
            if following is not None:
                running.append(waiting.pop(0))
        elif step == "give up" and waiting:
            assert compartment.give_up(waiting.pop(which % len(waiting)))
        status = compartment.status()
        assert (status.running, status.waiting) == (len(running), len(waiting))
        assert len(running) <= 2
        assert compartment.is_idle == (not running and not waiting)
        assert not any(map(compartment.give_up, running))
