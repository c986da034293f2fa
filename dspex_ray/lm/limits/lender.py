"""Where a client's slices come from: this process alone, or an agent that all processes of a system ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from dspex_agents.agent import AgentContext
from dspex_agents.clock import Clock
from dspex_ray.lm.limits.slices import Slice, SliceBooks, TakeSlice

Lender: TypeAlias = Callable[[TakeSlice], Awaitable[Slice]]
MODEL_LIMITS: Final = "model-limits"
"""The name under which a system's `ModelLimitsAgent` is found."""
_TIMEOUT_S: Final = 10.0


class OwnLender:
    """Lends from books of this process."""

    def __init__(self, clock: Clock) -> None:
        self._books, self._clock = SliceBooks(), clock

    async def __call__(self, ask: TakeSlice) -> Slice:
        """Lend at once."""
        return self._books.take(ask, self._clock.monotonic())


class AgentLender:
    """Asks the system's `ModelLimitsAgent`. Raises a MessageError when it does not answer within 10 s."""

    def __init__(self, context: AgentContext, agent: str = MODEL_LIMITS) -> None:
        self._context, self._agent = context, agent

    async def __call__(self, ask: TakeSlice) -> Slice:
        """Lend as the agent says."""
        lent: Slice = await self._context.ask(self._agent, ask, control=True, timeout_s=_TIMEOUT_S)
        return lent


class SharedLender:
    """The lender of this process, once an agent has said so; a client asks it from its first call on a loop."""

    def __init__(self) -> None:
        self.lender: Lender | None = None

    def use(self, lender: Lender | None) -> None:
        """Let every client of this process that has limits ask `lender`; None: each has the limits for itself again."""
        self.lender = lender


SHARED_LENDER: Final = SharedLender()
"""Set it in each process that calls models: `SHARED_LENDER.use(AgentLender(context))` at an agent's start."""
