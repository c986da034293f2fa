"""A foundation agent with a few actions, and a bench on which one agent runs alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, Field

from dspex_agents import Action, ManualClock, SignalRoute
from dspex_agents.actions.action_call import ActionCall
from dspex_agents.actions.decision import Decision
from dspex_agents.actions.directive import SetState
from dspex_agents.roles.foundation_agent import FoundationAgent
from dspex_agents.services.telemetry import TelemetryEvent
from dspex_agents.testing import LoneHost


class CartState(BaseModel):
    count: int = Field(default=0, ge=0, le=100)
    notes: list[str] = []


class By(BaseModel):
    by: int = 1


class Count(BaseModel):
    count: int


class AddItems(Action[By, Count]):
    """Put items into the cart."""

    async def run(self, params: By, context: Mapping[str, Any]) -> Decision:
        count = context["state"].count + params.by
        return Decision(Count(count=count), SetState({"count": count}))


class Scribble(Action[By, Count]):
    """Change the copy of the state that it was given."""

    async def run(self, params: By, context: Mapping[str, Any]) -> Count:
        context["state"].count = 50
        context["state"].notes.append("scribbled")
        return Count(count=50)


class Show(Action[By, Count]):
    """Tell how full the cart is."""

    async def run(self, params: By, context: Mapping[str, Any]) -> Count:
        return Count(count=context["state"].count)


class Act(Action[By, Count]):
    """Do what the test wants."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act

    async def run(self, params: By, context: Mapping[str, Any]) -> Any:
        return await self._act(params, context)


class Cart(FoundationAgent):
    """Keeps count of
    items."""

    capabilities = frozenset({"cart"})
    actions = (AddItems, Show, Scribble)
    routes = (SignalRoute("item.*", "AddItems"), SignalRoute("item.added", "Show", 1))
    State = CartState


class Heard:
    """Keeps telemetry events."""

    def __init__(self) -> None:
        self.events: list[TelemetryEvent] = []

    def emit(self, event: TelemetryEvent) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


class Bench:
    """One agent on a lone host."""

    def __init__(self, kind: type[FoundationAgent] = Cart, *, host: LoneHost | None = None, **options: Any) -> None:
        self.clock = ManualClock(1000.0)
        self.host = host or LoneHost(self.clock)
        self.heard = Heard()
        self.agent = kind(**{"telemetry": self.heard, **options})
        self.agent.context = self.host.context("cart-1")

    def run(self, *bodies: Any) -> Any:
        """Start the agent, send it the bodies and return the last answer."""

        async def life() -> Any:
            await self.agent.on_start()
            answer = None
            for body in bodies:
                answer = await self.agent.on_message(body)
            return answer

        return asyncio.run(life())


ADD = ActionCall("AddItems", {"by": 2})
