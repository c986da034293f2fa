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
    """The lender of this process: whichever of its agents offered one last and is still there."""

    def __init__(self) -> None:
        self._offered: list[Lender] = []

    @property
    def is_there(self) -> bool:
        """Whether an agent of this process has offered a lender."""
        return bool(self._offered)

    def offer(self, lender: Lender) -> None:
        """Let clients of this process with limits ask `lender`: those whose first call on a loop is still to come."""
        self._offered.append(lender)

    def withdraw(self, lender: Lender) -> None:
        """Ask this one no more; twice is harmless. Without any, a client has its limits for itself again."""
        if lender in self._offered:
            self._offered.remove(lender)

    async def __call__(self, ask: TakeSlice) -> Slice:
        """Ask the newest. Raises what it raises, and ConnectionError when all have gone."""
        if not self._offered:
            raise ConnectionError("no agent of this process is left that could ask for them")
        return await self._offered[-1](ask)


SHARED_LENDER: Final = SharedLender()
"""An agent whose process calls models offers an `AgentLender(context)` at its start and withdraws it at its end."""
