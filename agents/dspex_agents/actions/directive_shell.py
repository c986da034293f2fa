"""`DirectiveShell`: checks an agent's directives all at once and performs those with effects, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import assert_never

from dspex_agents.actions.action_call import Order
from dspex_agents.actions.directive import (
    DeleteState,
    Directive,
    DirectiveError,
    Emit,
    Enqueue,
    Schedule,
    SendTo,
    SetState,
    SpawnChild,
    StopChild,
    StopSelf,
    described,
)
from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentSystemError
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_messages import Publish

_EFFECT_TIMEOUT_S = 60.0


class DirectiveFailedError(AgentSystemError):
    """A directive could not be performed. `performed` came before it and stay done, `left` after it were not begun."""

    def __init__(self, failed: str, reason: str, performed: tuple[str, ...], left: tuple[str, ...]) -> None:
        super().__init__(failed, reason, performed, left)
        self.failed, self.reason, self.performed, self.left = failed, reason, performed, left

    def __str__(self) -> str:
        done, left = (", ".join(names) or "none" for names in (self.performed, self.left))
        return f"Directive {self.failed} failed: {self.reason}. Performed before it: {done}. Not begun: {left}."


class DirectiveShell:
    """Performs what the actions of one agent decided. `end(reason)` is called for StopSelf.

    `check_order` raises an AgentSystemError for an instruction that the agent does not take.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        bus: str,
        check_order: Callable[[Order], object],
        end: Callable[[str], None],
        timeout_s: float = _EFFECT_TIMEOUT_S,
    ) -> None:
        """`timeout_s` bounds each effect."""
        self._context, self._bus, self._timeout_s = context, bus, timeout_s
        self._check_order, self._end = check_order, end

    def check(self, directives: Sequence[object]) -> tuple[Directive, ...]:
        """Return the directives. Raises DirectiveError naming everything that is wrong with any of them."""
        problems: list[str] = []
        good: list[Directive] = []
        for number, directive in enumerate(directives, start=1):
            if not isinstance(directive, Directive):
                problems.append(f"Number {number} is no directive: {directive!r}.")
                continue
            good.append(directive)
            if problem := self._problem(directive):
                problems.append(f"Number {number}, {described(directive)}: {problem}")
            if isinstance(directive, StopSelf) and number < len(directives):
                problems.append(f"Number {number}, {described(directive)}: it must be the last one.")
        if problems:
            raise DirectiveError(tuple(problems))
        return tuple(good)

    async def perform(self, directives: Sequence[Directive]) -> None:
        """Perform the effects in order; those on the state are taken as done before. Raises DirectiveFailedError.

        Nothing is undone and nothing is performed again when one fails.
        """
        on_state = [d for d in directives if isinstance(d, SetState | DeleteState)]
        effects = [d for d in directives if not isinstance(d, SetState | DeleteState)]
        for position, effect in enumerate(effects):
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._perform(effect)
            except Exception as error:  # whatever a child's constructor or the way to another agent raises
                text = str(error) or f"not done within {self._timeout_s:g} s"
                raise DirectiveFailedError(
                    described(effect),
                    f"{type(error).__name__}: {text}".rstrip("."),
                    tuple(map(described, (*on_state, *effects[:position]))),
                    tuple(map(described, effects[position + 1 :])),
                ) from error

    async def _perform(self, effect: Directive) -> None:
        match effect:
            case Emit(signal, bus):
                await self._emit(signal, bus or self._bus)
            case SendTo(agent, body):
                await self._context.tell(agent, body)
            case SpawnChild(supervisor, spec):
                await self._context.start_child(supervisor, spec)
            case StopChild(name, reason):
                await self._context.stop_child(name, reason)
            case Schedule(after_s, order):
                await self._context.tell(self._context.name, order, delay_s=after_s)
            case Enqueue(order):
                await self._context.tell(self._context.name, order)
            case StopSelf(reason):
                self._end(reason)
            case SetState() | DeleteState():  # the state has been changed before
                return
            case _:
                assert_never(effect)

    async def _emit(self, signal: Signal, bus: str) -> None:
        # the bus knows a signal by source and id: asking twice publishes once
        await self._context.ask(bus, Publish(signal), timeout_s=self._timeout_s, retry_safe=True)

    def _problem(self, directive: Directive) -> str:
        match directive:
            case Emit(_, ""):
                return "" if self._bus else "the agent has no bus; give it one, or name one in the directive."
            case StopChild(name) if name == self._context.name:
                return "an agent does not stop itself as a child; use StopSelf."
            case Schedule(_, order) | Enqueue(order):
                try:
                    self._check_order(order)
                except AgentSystemError as error:
                    return str(error)
        return ""
