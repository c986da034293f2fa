"""Getting a message to an agent by name, through restarts: resolve, send, and try again where that is safe."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Unpack

from dspex_agents.clock import Clock
from dspex_agents.errors import DeadlineExceededError, MessageError, OutcomeUnknownError, SystemStoppedError
from dspex_agents.ids import IdSource
from dspex_agents.messaging.message import AskOptions, Envelope, Priority, Reply
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError, Route

_STEP = tuple[Port, str, tuple[Any, ...], float]
_GRACE_S = 0.5  # the agent answers its own deadline first; only then does the caller's clock speak


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a message is asked: the defaults of `AskOptions`."""

    timeout_s: float = 30.0
    priority: Priority = Priority.NORMAL
    control: bool = False
    key: str | None = None
    retry_safe: bool = False
    delay_s: float = 0.0


class Router:
    """Asks agents of one system by name. Caches where they live and re-resolves when they have moved.

    A message whose host died in flight may have been handled. With `retry_safe` it is sent again to the agent's next
    incarnation, under the same idempotency key, until the deadline; otherwise OutcomeUnknownError says so.
    """

    def __init__(self, root: Port, clock: Clock, ids: IdSource) -> None:
        self._root, self._clock, self._ids = root, clock, ids
        self._routes: dict[str, Route] = {}

    async def ask(self, to: str, body: Any, *, sender: str = "", **options: Unpack[AskOptions]) -> Any:
        """Return the agent's answer. Raises the MessageError that fits, never a runtime's own error."""
        steps = self._conversation(to, body, sender, _Manner(**options))
        try:
            port, method, args, left = next(steps)
            while True:
                try:
                    result = await port.call(method, *args, timeout_s=left)
                except (PortDiedError, PortUnavailableError, TimeoutError) as error:
                    port, method, args, left = steps.throw(error)
                else:
                    port, method, args, left = steps.send(result)
        except StopIteration as done:
            return done.value

    def ask_blocking(self, to: str, body: Any, *, sender: str = "", **options: Unpack[AskOptions]) -> Any:
        """Do what `ask` does, blocking the calling thread."""
        steps = self._conversation(to, body, sender, _Manner(**options))
        try:
            port, method, args, left = next(steps)
            while True:
                try:
                    result = port.call_blocking(method, *args, timeout_s=left)
                except (PortDiedError, PortUnavailableError, TimeoutError) as error:
                    port, method, args, left = steps.throw(error)
                else:
                    port, method, args, left = steps.send(result)
        except StopIteration as done:
            return done.value

    def _conversation(self, to: str, body: Any, sender: str, manner: _Manner) -> Generator[_STEP, Any, Any]:
        """Decide every call of one message: yields what to call, is sent the result or thrown the error."""
        deadline = self._clock.now() + manner.timeout_s
        message_id = self._ids.new("m")
        unknown: str | None = None
        left_behind: int | None = None  # the incarnation known to be gone: the root waits for a later one
        while True:
            left = deadline - self._clock.now()
            if left <= 0:
                raise _overdue(to, manner.timeout_s, unknown)
            route = self._routes.get(to)
            if route is None:
                try:
                    route = yield self._root, "resolve", (to, left, left_behind), left + _GRACE_S
                except TimeoutError:
                    raise _overdue(to, manner.timeout_s, unknown) from None
                except PortUnavailableError:
                    continue  # the root is being restarted: ask again until the deadline
                except PortDiedError:
                    raise SystemStoppedError(f"The system of agent {to!r} is gone.") from None
                self._routes[to] = route
            envelope = Envelope(
                to,
                body,
                message_id,
                route.epoch,
                manner.priority,
                manner.control,
                deadline,
                manner.key or message_id,
                sender,
            )
            try:
                replies: list[Reply] = yield route.port, "deliver", ([envelope],), left + _GRACE_S
            except (PortDiedError, PortUnavailableError):
                self._routes.pop(to, None)
                left_behind = route.epoch
                unknown = f"The process of agent {to!r} died with the message in flight; it may have been handled."
                if not manner.retry_safe and not manner.control:
                    raise OutcomeUnknownError(unknown) from None
                continue
            except TimeoutError:
                raise _overdue(to, manner.timeout_s, unknown) from None
            reply = replies[0]
            if reply.stale:
                self._routes.pop(to, None)
                left_behind = route.epoch
                continue
            if reply.error is not None:
                raise reply.error
            return reply.value


def _overdue(to: str, timeout_s: float, unknown: str | None) -> MessageError:
    story = f" {unknown}" if unknown else ""
    return DeadlineExceededError(f"No answer from agent {to!r} within {timeout_s:g} s.{story}")
