"""Functions that block: on threads, bounded for each agent, with the caller's context, counted until they end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from runtime_contract import spec_of

from dspex_agents import Agent, ChildSpec, start_local_system
from dspex_agents.clock import SystemClock
from dspex_agents.errors import AgentFailedError, DeadlineExceededError
from dspex_agents.roles.progress import ProgressBoard, report_progress
from dspex_agents.runtime.blocking_work import BlockingWork

WITHIN_S = 10.0


def run(scenario: Callable[[BlockingWork], Coroutine[Any, Any, None]], threads: int = 8) -> None:
    async def limited() -> None:
        work = BlockingWork(threads)
        async with asyncio.timeout(WITHIN_S):
            await scenario(work)
        work.close()

    asyncio.run(limited())


class Gate:
    """A function that blocks until the gate opens, and counts how many do."""

    def __init__(self) -> None:
        self.opened, self.lock = threading.Event(), threading.Lock()
        self.inside = self.most = self.done = 0

    def pass_through(self) -> int:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.opened.wait(WITHIN_S)
        with self.lock:
            self.inside -= 1
            self.done += 1
        return threading.get_ident()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - bounded by the scenario's timeout
        await asyncio.sleep(0.001)


def test_the_function_runs_on_another_thread_and_its_error_is_raised() -> None:
    async def scenario(work: BlockingWork) -> None:
        assert await work.run("a", 1, threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await work.run("a", 1, lambda: 1 // 0)

    run(scenario)


def test_the_callers_context_reaches_the_thread() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def scenario(work: BlockingWork) -> None:
        variable.set("here")
        assert await work.run("a", 1, variable.get) == "here"

    run(scenario)


def test_an_agent_has_no_more_threads_than_its_concurrency_and_others_have_theirs() -> None:
    async def scenario(work: BlockingWork) -> None:
        mine, other = Gate(), Gate()
        running = [asyncio.create_task(work.run("mine", 2, mine.pass_through)) for _ in range(5)]
        await until(lambda: mine.inside == 2)
        other.opened.set()
        assert await work.run("other", 1, other.pass_through)
        assert mine.most == 2
        mine.opened.set()
        await asyncio.gather(*running)
        assert (mine.most, mine.done) == (2, 5)
        await until(lambda: not work._places)

    run(scenario)


def test_no_agent_takes_more_than_half_of_the_threads() -> None:
    async def scenario(work: BlockingWork) -> None:
        gate = Gate()
        running = [asyncio.create_task(work.run("a", 100, gate.pass_through)) for _ in range(20)]
        await until(lambda: gate.inside == 4)
        gate.opened.set()
        await asyncio.gather(*running)
        assert gate.most == 4

    run(scenario, threads=8)


def test_a_cancelled_caller_leaves_its_place_taken_until_the_function_returns() -> None:
    async def scenario(work: BlockingWork) -> None:
        gate, free = Gate(), Gate()
        free.opened.set()
        first = asyncio.create_task(work.run("a", 1, gate.pass_through))
        await until(lambda: gate.inside == 1)
        first.cancel()
        await asyncio.wait((first,))
        second = asyncio.create_task(work.run("a", 1, free.pass_through))
        await asyncio.sleep(0.02)
        assert (first.cancelled(), second.done(), gate.inside) == (True, False, 1)
        gate.opened.set()
        assert await second
        assert gate.done == 1

    run(scenario)


def test_a_caller_cancelled_while_it_waits_for_a_place_takes_none() -> None:
    async def scenario(work: BlockingWork) -> None:
        gate = Gate()
        tasks = [asyncio.create_task(work.run("a", 1, gate.pass_through)) for _ in range(3)]
        await until(lambda: gate.inside == 1)
        tasks[1].cancel()
        gate.opened.set()
        await tasks[0]
        await tasks[2]
        assert (gate.done, tasks[1].cancelled()) == (2, True)
        await until(lambda: not work._places)

    run(scenario)


class Blocks(Agent):
    """Blocks on threads and stays open for everything else."""

    concurrency = 2

    def __init__(self) -> None:
        self.board = ProgressBoard()
        self.gate = Gate()

    async def on_message(self, body: Any) -> Any:
        with self.board.unit("work", SystemClock()):
            if body == "report":
                await self.context.run_blocking(report_progress, 0.5, "from a thread")
                return self.board.all()[0].note
            return await self.context.run_blocking(self.gate.pass_through)

    async def on_control(self, body: Any) -> Any:
        self.gate.opened.set()
        return self.gate.inside


def test_an_agent_that_blocks_on_a_thread_reports_progress_and_answers_meanwhile() -> None:
    with start_local_system(spec_of(ChildSpec(id="a", start=Blocks))) as system:
        with pytest.raises(DeadlineExceededError):
            system.ask("a", "block", timeout_s=0.2)
        assert system.ask("a", "report") == "from a thread"
        assert system.status("a").handled == 1
        assert system.ask("a", "open", control=True) == 1  # its thread went on after the deadline


class Fails(Agent):
    async def on_message(self, body: Any) -> Any:
        return await self.context.run_blocking(int, body)


def test_an_error_on_the_thread_is_the_agents_error() -> None:
    with start_local_system(spec_of(ChildSpec(id="a", start=Fails))) as system:
        assert system.ask("a", "7") == 7
        with pytest.raises(AgentFailedError, match="ValueError"):
            system.ask("a", "seven")
