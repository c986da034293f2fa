"""Agents around a shared variable: members that decide by a rule, observers, and a worker with values."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from dspex_agents import Agent, AgentContext
from dspex_coordination.shared_variables import Ballot, Observes, Proposal, ValueChanged


class Member(Agent):
    """Accepts numbers up to `most`, wants `wish`; `None` for most: does not answer."""

    def __init__(self, most: float | None = 1.0, wish: Any = None) -> None:
        self.most, self.wish, self.asked = most, wish, list[Proposal]()

    async def on_message(self, body: Any) -> Any:
        return list(self.asked)

    async def on_control(self, body: Any) -> Any:
        self.asked.append(body)
        if self.most is None:
            raise RuntimeError("lost its notes")
        if body.wanted:
            return Ballot(value=self.wish)
        return Ballot(body.value <= self.most, reason=f"at most {self.most}")


class Watcher(Observes, Agent):
    """Keeps what it is told of the variables that it observes."""

    def __init__(self, observed: Sequence[str]) -> None:
        self.observed = tuple(observed)
        self.seen: list[ValueChanged] = []

    async def on_value(self, changed: ValueChanged) -> None:
        if changed.value == 0.13:
            raise ValueError("an unlucky number")
        self.seen.append(changed)

    async def on_message(self, body: Any) -> Any:
        if body == "seen":
            return [(change.version, change.value) for change in self.seen]
        return await super().on_message(body)


class Scaler:
    """A worker that multiplies by a factor it can be given another value for; "slow" waits for the next value."""

    def __init__(self) -> None:
        self.values: Any = None
        self.gate = asyncio.Event()

    async def start(self, context: AgentContext) -> None:
        return

    async def apply(self, values: Any) -> None:
        if self.values is not None:
            self.gate.set()
        self.values = values

    async def perform(self, payload: Any) -> Any:
        factor = self.values["factor"]
        if payload == "slow":
            await self.gate.wait()
            return factor
        return payload * factor

    async def stop(self) -> None:
        return
