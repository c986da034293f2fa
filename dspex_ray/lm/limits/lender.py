"""Where a client's slices come from: this process alone, or an agent that all processes of a system ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

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
    """Asks the system's `ModelLimitsAgent`. Raises a MessageError when it does not answer within 10 s.

    Made on the agent's event loop; asked from any.
    """

    def __init__(self, context: AgentContext, agent: str = MODEL_LIMITS) -> None:
        self._context, self._agent, self._loop = context, agent, asyncio.get_running_loop()

    @property
    def is_gone(self) -> bool:
        """Whether the agent has ended with all of its system in this process, so that nobody is left to ask."""
        return self._loop.is_closed()

    async def __call__(self, ask: TakeSlice) -> Slice:
        """Lend as the agent says."""
        if self._loop.is_closed():
            raise ConnectionError("the system of agents whose limits are shared has ended")
        asking = self._context.ask(self._agent, ask, control=True, timeout_s=_TIMEOUT_S)
        lent: Slice
        if asyncio.get_running_loop() is self._loop:
            lent = await asking
        else:  # a client of the same process, in code of its user
            lent = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, self._loop))
        return lent


class SharedLender:
    """The lender of this process: whichever of its agents offered one last and is still there."""

    def __init__(self) -> None:
        # weak: an agent of this process that is dropped without its end (a simulated kill) takes its offer along
        self._offered = WeakKeyDictionary[Lender, None]()

    @property
    def is_there(self) -> bool:
        """Whether an agent of this process has offered a lender."""
        return bool(self._left())

    def offer(self, lender: Lender) -> None:
        """Let clients of this process with limits ask `lender`: those whose first call on a loop is still to come.

        It is held weakly: whoever offers it keeps it.
        """
        self._offered[lender] = None

    def withdraw(self, lender: Lender) -> None:
        """Ask this one no more; twice is harmless. Without any, a client has its limits for itself again."""
        self._offered.pop(lender, None)

    async def __call__(self, ask: TakeSlice) -> Slice:
        """Ask the newest. Raises what it raises, and ConnectionError when all have gone."""
        left = self._left()
        if not left:
            raise ConnectionError("no agent of this process is left that could ask for them")
        return await left[-1](ask)

    def _left(self) -> list[Lender]:
        return [one for one in self._offered if not (isinstance(one, AgentLender) and one.is_gone)]


SHARED_LENDER: Final = SharedLender()
"""An agent whose process calls models offers an `AgentLender(context)` at its start and withdraws it at its end."""
