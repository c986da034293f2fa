"""Agents and workers that the runtime suites drive; importable in every process a test starts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_agents import Agent, AgentContext, AgentExit, Outcome, Work


class Echo(Agent):
    """Answers with what it was sent, and does a few things on request."""

    def __init__(self, concurrency: int = 1, mailbox_size: int = 1000, overflow: Any = "reject") -> None:
        self.concurrency, self.mailbox_size, self.overflow = concurrency, mailbox_size, overflow
        self.gate = asyncio.Event()
        self.seen: list[Any] = []

    async def on_message(self, body: Any) -> Any:
        match body:
            case "pid":
                return os.getpid()
            case "epoch":
                return self.context.epoch
            case "boom":
                raise ValueError("boom")
            case "exit-normal":
                raise AgentExit("normal")
            case "exit-crash":
                raise AgentExit("crashed on request")
            case "wait":
                await self.gate.wait()
                return "waited"
            case ("ask", to, what):
                return await self.context.ask(to, what)
            case "seen":
                return list(self.seen)
            case _:
                self.seen.append(body)
                return body

    async def on_control(self, body: Any) -> Any:
        if body == "open":
            self.gate.set()
            return True
        return await super().on_control(body)


class FailsToStart(Agent):
    async def on_start(self) -> None:
        raise RuntimeError("no licence for this machine")


class Squarer:
    """A worker: squares numbers, tells its process, or fails."""

    async def start(self, context: AgentContext) -> None:
        return

    async def perform(self, payload: Any) -> Any:
        match payload:
            case "pid":
                return os.getpid()
            case "fail":
                raise ValueError("cannot square this")
            case int():
                await asyncio.sleep(0)
                return payload * payload
            case ("slow", seconds, value):
                await asyncio.sleep(seconds)
                return value

    async def stop(self) -> None:
        return


class SumOfSquares:
    """A plan: squares 1..n over the members and adds the results up."""

    def __init__(self, n: int, pause_s: float = 0.0) -> None:
        self._todo = [Work(str(i), ("slow", pause_s, i * i) if pause_s else i) for i in range(1, n + 1)]
        self._n, self._got, self._errors, self._cancelled = n, {}, [], False

    def open(self) -> None:
        return

    def pull(self, limit: int, now: float) -> Sequence[Work]:
        batch, self._todo = self._todo[:limit], self._todo[limit:]
        return batch

    def push(self, outcomes: Sequence[Outcome], now: float) -> None:
        for outcome in outcomes:
            if outcome.error:
                self._errors.append(outcome.error)
            self._got[outcome.work_id] = outcome.value or 0

    def finished(self) -> bool:
        return len(self._got) + (len(self._todo) if self._cancelled else 0) == self._n

    def result(self) -> Any:
        return {"sum": sum(self._got.values()), "done": len(self._got), "errors": [e.kind for e in self._errors]}

    def progress(self) -> Mapping[str, Any]:
        return {"done": len(self._got), "of": self._n}

    def cancel(self, reason: str) -> None:
        self._cancelled = True

    def close(self) -> None:
        return
