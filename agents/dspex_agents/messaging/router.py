"""Getting a message to an agent by name, through restarts: resolve, send, and try again where that is safe."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Unpack

from dspex_agents.clock import Clock
from dspex_agents.errors import (
    AgentFailedError,
    AgentSystemError,
    DeadlineExceededError,
    MessageError,
    OutcomeUnknownError,
    SystemStoppedError,
)
from dspex_agents.ids import IdSource
from dspex_agents.messaging.message import AskOptions, Envelope, Priority, Reply, TellOptions
from dspex_agents.messaging.trace_context import current_trace
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError, Route

GRACE_S = 0.5
"""The agent answers its own deadline first; only after these seconds does the caller's clock speak."""

_STEP = tuple[Port, str, tuple[Any, ...], float]
Carry = Callable[[Port, str, tuple[Any, ...], float], Awaitable[Any]]


@dataclass(slots=True)
class Manner:
    """How a message is sent: the defaults of `AskOptions`; whether it is told, and if so, told without a deadline."""

    timeout_s: float = 30.0
    priority: Priority = Priority.NORMAL
    control: bool = False
    key: str | None = None
    retry_safe: bool = False
    delay_s: float = 0.0
    told: bool = False
    is_patient: bool = False


class Router:
    """Asks agents of one system by name. Caches where they live and re-resolves when they have moved.

    A message whose host died in flight may have been handled. With `retry_safe` it is sent again to the agent's next
    incarnation, under the same idempotency key, until the deadline; otherwise OutcomeUnknownError says so.
    """

    def __init__(self, root: Port, clock: Clock, ids: IdSource, carry: Carry | None = None) -> None:
        """`carry` makes the calls of `ask` in place of the ports themselves."""
        self.root, self._clock = root, clock
        self._carry = carry or _call
        self._prefix, self._numbers = ids.new("m"), itertools.count(1)
        self.routes: dict[str, Route] = {}

    def new_id(self) -> str:
        """Return the id of the next message."""
        return f"{self._prefix}.{next(self._numbers)}"

    async def ask(self, to: str, body: Any, *, sender: str = "", **options: Unpack[AskOptions]) -> Any:
        """Return the agent's answer. Raises the MessageError that fits, never a runtime's own error."""
        return await self._converse(self._conversation(to, body, sender, Manner(**options)))

    def ask_blocking(self, to: str, body: Any, *, sender: str = "", **options: Unpack[AskOptions]) -> Any:
        """Do what `ask` does, blocking the calling thread."""
        return self._converse_blocking(self._conversation(to, body, sender, Manner(**options)))

    async def tell(self, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """Send a message and return when the agent has it in its mailbox. Raises the MessageError that fits.

        One that comes to nothing after that is a dead letter.
        """
        await self._converse(self._conversation(to, body, "", _told(options)))

    def tell_blocking(self, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """Do what `tell` does, blocking the calling thread."""
        self._converse_blocking(self._conversation(to, body, "", _told(options)))

    def envelope(self, to: str, body: Any, sender: str, manner: Manner, now: float) -> Envelope:
        """Return a new message, of no incarnation yet."""
        id_ = self.new_id()
        return Envelope(
            to,
            body,
            id_,
            None,
            int(manner.priority),
            manner.control,
            None if manner.is_patient else now + manner.timeout_s,
            manner.key or (id_ if manner.retry_safe else None),
            sender,
            now + manner.delay_s if manner.delay_s > 0 else None,
            manner.told,
            current_trace.get(),
        )

    async def _converse(self, steps: Generator[_STEP, Any, Any]) -> Any:
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._carry(*step)
                except Exception as error:  # noqa: BLE001 - thrown to where it is decided upon
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value

    def _converse_blocking(self, steps: Generator[_STEP, Any, Any]) -> Any:
        try:
            port, method, args, left = next(steps)
            while True:
                try:
                    result = port.call_blocking(method, *args, timeout_s=left)
                except Exception as error:  # noqa: BLE001 - thrown to where it is decided upon
                    port, method, args, left = steps.throw(error)
                else:
                    port, method, args, left = steps.send(result)
        except StopIteration as done:
            return done.value

    def _conversation(self, to: str, body: Any, sender: str, manner: Manner) -> Generator[_STEP, Any, Any]:
        """Decide every call of one message: yields what to call, is sent the result or thrown the error."""
        now = self._clock.now()
        message = self.envelope(to, body, sender, manner, now)
        deadline = now + manner.timeout_s
        is_repeatable = manner.retry_safe or manner.control
        unknown: MessageError | None = None
        gone_epoch: int | None = None  # the incarnation known to be gone: the root waits for a later one
        while True:
            left = deadline - self._clock.now()
            if left <= 0:
                raise overdue(to, manner.timeout_s, unknown)
            if (route := (yield from self._route(to, left, gone_epoch))) is None:
                continue
            try:
                reply: Reply = yield route.port, "deliver", (message._replace(epoch=route.epoch),), left + GRACE_S
            except (PortDiedError, PortUnavailableError):
                unknown = OutcomeUnknownError(
                    f"The process of agent {to!r} died with the message in flight; it may have been handled."
                )
                self._forget(to, route)
                gone_epoch = route.epoch
                if not is_repeatable:
                    raise unknown from None
                continue
            except TimeoutError:
                raise overdue(to, manner.timeout_s, unknown) from None
            except AgentSystemError:
                raise
            except Exception as error:
                raise cannot_travel(to, error) from error
            if reply.stale:
                unknown = reply.error or unknown
                if reply.error is not None and not is_repeatable:
                    raise reply.error
                self._forget(to, route)
                gone_epoch = route.epoch
            elif reply.error is not None:
                raise reply.error
            else:
                return reply.value

    def _route(self, to: str, left: float, gone_epoch: int | None) -> Generator[_STEP, Any, Route | None]:
        """Return where the agent lives, or None where that is to be asked again."""
        route = self.routes.get(to)
        if route is None or (gone_epoch is not None and route.epoch <= gone_epoch):
            try:
                route = yield self.root, "resolve", (to, left, gone_epoch), left + GRACE_S
            except (TimeoutError, PortUnavailableError):
                return None  # the root is being restarted
            except PortDiedError:
                raise SystemStoppedError(f"The system of agent {to!r} is gone.") from None
            self.routes[to] = route
        return route

    def _forget(self, to: str, route: Route) -> None:
        if self.routes.get(to) is route:  # another message may have found the next one already
            del self.routes[to]


async def _call(port: Port, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:
    return await port.call(method, *args, timeout_s=timeout_s)


def _told(options: TellOptions) -> Manner:
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    return Manner(told=True, is_patient="timeout_s" not in given, **given)


def cannot_travel(to: str, error: Exception) -> AgentFailedError:
    """Return the error of a message, or an answer, that does not pickle."""
    kind, text = type(error).__name__, str(error)
    return AgentFailedError(f"The message to agent {to!r}, or its answer, cannot travel: {kind}: {text}", kind, text)


def overdue(to: str, timeout_s: float, unknown: MessageError | None = None) -> MessageError:
    """Return the error of a question whose time is over; `unknown` tells of an earlier try."""
    story = f" {unknown}" if unknown else ""
    return DeadlineExceededError(f"No answer from agent {to!r} within {timeout_s:g} s.{story}")
