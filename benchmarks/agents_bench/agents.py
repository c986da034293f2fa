"""The agents that are measured: one that answers, one that sends, one that is slow."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dspex_agents import Agent, AgentContext
from dspex_agents.errors import MailboxFullError, MessageError

BODY = {"message": "hello"}
AT_ONCE = 256
_END_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class GetPid:
    """Answered with the process id."""


@dataclass(frozen=True, slots=True)
class Run:
    """Send `count` messages to an agent in one way; answered with messages a second."""

    how: str
    to: str
    count: int


@dataclass(frozen=True, slots=True)
class AskEach:
    """Ask every agent named once; answered with the seconds it took."""

    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Fill:
    """Ask `count` questions and leave them open, with as many `floods` that ask again whenever they are refused."""

    to: str
    count: int
    floods: int = 0


@dataclass(frozen=True, slots=True)
class _Expect:
    """Tell `sender` when so many more messages were handled."""

    sender: str
    count: int


@dataclass(frozen=True, slots=True)
class _AllHandled:
    """All that were expected are handled."""


class Echo(Agent):
    """Answers with the message."""

    async def on_message(self, body: Any) -> Any:
        return os.getpid() if isinstance(body, GetPid) else body


class Receiver(Agent):
    """Answers with the message, and tells when it has had as many as expected."""

    def __init__(self) -> None:
        self._left, self._sender = 0, ""

    async def on_message(self, body: Any) -> Any:
        self._left -= 1
        if not self._left:
            await self.context.tell(self._sender, _AllHandled())
        return body

    async def on_control(self, body: Any) -> Any:
        match body:
            case _Expect(sender, count):
                self._sender, self._left = sender, count
                return os.getpid()
            case _:
                return await super().on_control(body)


class Sender(Agent):
    """Sends to a receiver and measures the rate until the last message is handled."""

    concurrency = 2

    def __init__(self) -> None:
        self._handled = asyncio.Event()

    async def on_message(self, body: Any) -> Any:
        match body:
            case GetPid():
                return os.getpid()
            case _AllHandled():
                return self._handled.set()
            case Run(how, to, count):
                return await self._run(how, to, count)
            case AskEach(names):
                return await self._ask_each(names)
            case _:
                return await super().on_message(body)

    async def _run(self, how: str, to: str, count: int) -> float:
        await self.context.ask(to, _Expect(self.context.name, count if how == "tell" else -1), control=True)
        self._handled.clear()
        started = time.perf_counter()
        match how:
            case "ask":
                await self._ask(to, count)
            case "asks":
                await asyncio.gather(*(self._ask(to, count // AT_ONCE) for _ in range(AT_ONCE)))
            case "tell":
                for _ in range(count):
                    await self.context.tell(to, BODY)
                async with asyncio.timeout(_END_WITHIN_S):
                    await self._handled.wait()
        return count / (time.perf_counter() - started)

    async def _ask(self, to: str, count: int) -> None:
        for _ in range(count):
            await self.context.ask(to, BODY)

    async def _ask_each(self, names: Sequence[str]) -> float:
        waiting = iter(names)

        async def ask_next() -> None:
            for name in waiting:
                assert await self.context.ask(name, BODY, retry_safe=True, timeout_s=_END_WITHIN_S) == BODY

        started = time.perf_counter()
        await asyncio.gather(*(ask_next() for _ in range(AT_ONCE)))
        return time.perf_counter() - started


class Slow(Agent):
    """Takes a minute over each message, waiting, or with a thread of Python code that never rests."""

    mailbox_size = 1000

    def __init__(self, *, burns: bool = False) -> None:
        self._burns = burns

    async def on_message(self, body: Any) -> Any:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self._burns:
                await self.context.run_blocking(burn, 0.1)
            else:
                await asyncio.sleep(0.1)
        return body


def burn(seconds: float) -> None:
    """Keep one core and the interpreter's lock busy."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


class Feeder(Agent):
    """Keeps the mailbox of another agent full."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()

    async def on_message(self, body: Any) -> None:
        match body:
            case Fill(to, count, floods):
                jobs = [*(self._ask(to) for _ in range(count)), *(self._flood(to) for _ in range(floods))]
                self._open = {asyncio.get_running_loop().create_task(job) for job in jobs}
            case _:
                await super().on_message(body)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason
        for task in self._open:
            task.cancel()

    async def _ask(self, to: str) -> None:
        try:
            await self.context.ask(to, BODY, timeout_s=_END_WITHIN_S)
        except MessageError:
            return  # its agent was stopped: the measurement is over

    async def _flood(self, to: str) -> None:
        while True:
            try:
                await self.context.ask(to, BODY)
            except MailboxFullError:
                continue
            except MessageError:
                return


class EchoWorker:
    """Work that costs nothing."""

    async def start(self, context: AgentContext) -> None: ...

    async def perform(self, payload: Any) -> Any:
        return payload

    async def stop(self) -> None: ...
