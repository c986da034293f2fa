"""Services: they tick by themselves, and one that is broken ends instead of going deaf."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dspex_agents import ChildSpec, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.agent import AgentExit
from dspex_agents.errors import AgentFailedError
from dspex_agents.services.service_agent import ServiceAgent, TickNow

Start = Callable[..., System]


class Ticker(ServiceAgent):
    """Notes its ticks; what `mood` holds for the next tick is raised."""

    def __init__(self, ticks: queue.Queue[int], mood: list[BaseException], every_s: float = 0.01) -> None:
        super().__init__()
        self._ticks, self._mood, self._every_s = ticks, mood, every_s
        self.concurrency = 4

    async def serve(self, body: Any) -> Any:
        match body:
            case "break":
                self.spawn(self._fail())
                return "soon"
            case "wake":
                return self.wake()
            case _:
                return await super().serve(body)

    async def tick(self) -> float:
        if self._mood:
            raise self._mood.pop()
        self._ticks.put(self.context.epoch)
        return self._every_s

    async def _fail(self) -> None:
        await asyncio.sleep(0)
        raise ValueError("work beside the messages")


@pytest.fixture
def ticks() -> queue.Queue[int]:
    return queue.Queue()


@pytest.fixture
def mood() -> list[BaseException]:
    return []


@pytest.fixture
def start(ticks: queue.Queue[int], mood: list[BaseException]) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(**kwargs: Any) -> System:
            child = ChildSpec(
                id="ticker", start=Ticker, kwargs={"ticks": ticks, "mood": mood, **kwargs}, isolation="own"
            )
            spec = SystemSpec(name="services", supervisor=SupervisorSpec(id="top", children=(child,), intensity=10))
            return stack.enter_context(start_local_system(spec))

        yield begin


def reason(system: System) -> str:
    (node,) = system.tree().agents()
    return str(node.last_reason)


def test_it_ticks_by_itself_from_the_start_on(start: Start, ticks: Any) -> None:
    start()
    assert len({ticks.get(timeout=20) for _ in range(3)}) == 1


def test_a_pause_holds_the_ticks_and_a_resume_lets_them_go_on(start: Start, ticks: Any) -> None:
    system = start(every_s=0.001)
    ticks.get(timeout=20)
    paused = system.pause("ticker").handled
    handled = [system.status("ticker").handled for _ in range(100)]  # many times as long as a tick takes
    assert handled[-1] - paused <= 1, "one may have been under way"
    system.resume("ticker")
    while ticks.get(timeout=20) and system.status("ticker").handled < paused + 3:
        pass


def test_it_can_be_woken_before_its_time(start: Start, ticks: Any) -> None:
    system = start(every_s=3600.0)
    ticks.get(timeout=20)
    system.ask("ticker", "wake", control=True)
    ticks.get(timeout=20)


@pytest.mark.parametrize("error", [ValueError("out of order"), AgentExit("out of order")])
def test_a_tick_that_raises_ends_it_and_its_next_life_ticks(
    start: Start, ticks: Any, mood: list[BaseException], wait: Any, error: BaseException
) -> None:
    system = start()
    before = ticks.get(timeout=20)
    mood.append(error)
    wait(lambda: "out of order" in reason(system), what="the end of the first life")
    while ticks.get(timeout=20) == before:
        pass


def test_work_beside_the_messages_that_raises_ends_it_too(start: Start, ticks: Any, wait: Any) -> None:
    system = start()
    before = ticks.get(timeout=20)
    assert system.ask("ticker", "break") == "soon"
    wait(lambda: "ValueError: work beside the messages" in reason(system), what="the end of the first life")
    while ticks.get(timeout=20) == before:
        pass


def test_the_timer_of_an_incarnation_that_was_killed_ends_at_the_next_one(start: Start, ticks: Any) -> None:
    system = start()
    before = ticks.get(timeout=20)
    system.kill_child("ticker")
    while (epoch := ticks.get(timeout=20)) == before:
        pass
    with pytest.raises(AgentFailedError, match=f"is no longer incarnation {before}"):
        system.ask("ticker", TickNow(before))
    assert system.ask("ticker", TickNow(epoch)) == 0.01


def test_a_strange_message_is_refused_on_both_ways(start: Start) -> None:
    system = start()
    for control in (True, False):
        with pytest.raises(AgentFailedError, match="Ticker takes no message of type int"):
            system.ask("ticker", 3, control=control)
