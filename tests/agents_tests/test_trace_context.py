"""The trace of a sender reaches the agent that handles its message, and those that agent asks; nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from runtime_contract import spec_of

from dspex_agents import Agent, ChildSpec, System, start_local_system
from dspex_agents.messaging.trace_context import current_trace


class Tracer(Agent):
    """Answers with the trace it is in; `("ask", to, ...)` asks another agent for the rest."""

    concurrency = 100

    def __init__(self) -> None:
        self.told: asyncio.Queue[str | None] = asyncio.Queue()

    async def on_message(self, body: Any) -> Any:
        match body:
            case ("ask", to, *rest):
                return [current_trace.get(), await self.context.ask(to, tuple(rest) or "trace"), current_trace.get()]
            case ("tell", to):
                await self.context.tell(to, "keep")
                return None
            case ("task",):
                return await asyncio.create_task(self._later())
            case "keep":
                self.told.put_nowait(current_trace.get())
                return None
            case "kept":
                return await self.told.get()
            case _:
                return current_trace.get()

    async def _later(self) -> str | None:
        await asyncio.sleep(0)
        return current_trace.get()


@pytest.fixture
def start() -> Iterator[Callable[..., System]]:
    with contextlib.ExitStack() as stack:

        def begin(*names: str, host: str = "") -> System:
            hosts: list[dict[str, Any]] = [{"host": host + name} if host else {} for name in names]
            specs = [ChildSpec(id=name, start=Tracer, **fields) for name, fields in zip(names, hosts, strict=True)]
            return stack.enter_context(start_local_system(spec_of(*specs)))

        yield begin


@contextlib.contextmanager
def within(trace: str | None) -> Iterator[None]:
    token = current_trace.set(trace)
    try:
        yield
    finally:
        current_trace.reset(token)


@pytest.mark.parametrize("host", ["", "own-"])
def test_a_chain_of_agents_is_in_the_trace_of_whoever_asked_first(start: Callable[..., System], host: str) -> None:
    system = start("a", "b", "c", host=host)
    with within("t-1"):
        assert system.ask("a", ("ask", "b", "ask", "c")) == ["t-1", ["t-1", "t-1", "t-1"], "t-1"]
        assert current_trace.get() == "t-1"


@pytest.mark.parametrize("host", ["", "own-"])
def test_a_message_without_an_answer_is_in_its_senders_trace(start: Callable[..., System], host: str) -> None:
    system = start("a", "b", host=host)
    with within("t-2"):
        system.ask("a", ("tell", "b"))
    assert system.ask("b", "kept") == "t-2"


def test_a_task_that_an_agent_starts_stays_in_the_trace_of_its_message(start: Callable[..., System]) -> None:
    with within("t-3"):
        assert start("a").ask("a", ("task",)) == "t-3"


def test_a_message_without_a_trace_is_in_none_though_the_one_before_it_was_in_one(start: Callable[..., System]) -> None:
    system = start("a")
    with within("t-4"):
        assert system.ask("a", "trace") == "t-4"
    assert system.ask("a", "trace") is None


def test_messages_handled_at_once_keep_their_traces_apart(start: Callable[..., System]) -> None:
    system = start("a", "b", host="own-")

    async def asked(number: int) -> Any:
        with within(f"t-{number}"):
            return await system.aask("a", ("ask", "b"))

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*map(asked, range(50)))

    assert asyncio.run(all_at_once()) == [[f"t-{n}"] * 3 for n in range(50)]
