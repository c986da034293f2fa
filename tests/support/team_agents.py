"""Workers and plans that the suites of coordinators drive; importable in every process a test starts."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from dspex_agents import Agent, AgentContext, OutcomeUnknownError, Publish


class Held:
    """A worker whose units end when the gate is opened; it counts what each agent began and was told to stop."""

    gate: ClassVar[threading.Event] = threading.Event()
    begun: ClassVar[Counter[str]] = Counter()
    stopped: ClassVar[Counter[str]] = Counter()

    async def start(self, context: AgentContext) -> None:
        self._name = context.name

    async def perform(self, payload: Any) -> Any:
        self.begun[self._name] += 1
        try:
            while not self.gate.is_set():  # noqa: ASYNC110 - opened from another thread, in another loop's test
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.stopped[self._name] += 1
            raise
        return payload * payload

    async def stop(self) -> None:
        return

    @classmethod
    def reset(cls) -> None:
        """Close the gate and forget all counts."""
        cls.gate = threading.Event()
        cls.begun, cls.stopped = Counter(), Counter()


class Named:
    """A worker that answers with its agent's name and the payload; agents in `failing` lose what they are given."""

    failing: ClassVar[set[str]] = set()
    asked: ClassVar[list[str]] = []

    async def start(self, context: AgentContext) -> None:
        self._name = context.name

    async def perform(self, payload: Any) -> Any:
        self.asked.append(self._name)
        if self._name in self.failing:
            raise OutcomeUnknownError(f"{self._name} lost it")
        await asyncio.sleep(0)
        return self._name, payload

    async def stop(self) -> None:
        return

    @classmethod
    def reset(cls) -> None:
        """Let nobody fail and forget who was asked."""
        cls.failing, cls.asked = set(), []


def joined(results: Mapping[str, Any]) -> str:
    """Return the results of earlier tasks as one text, in the order of their tasks."""
    return "+".join(str(value[1]) for _, value in sorted(results.items()))


class Listener(Agent):
    """Stands where a signal bus would: keeps the types of all signals published, in order."""

    concurrency = 1

    def __init__(self) -> None:
        self._types: list[tuple[str, Any]] = []

    async def on_message(self, body: Any) -> Any:
        match body:
            case Publish(signal):
                self._types.append((signal.type.rsplit(".", 1)[1], signal.data))
                return None
            case "heard":
                return list(self._types)
            case _:
                return await super().on_message(body)
