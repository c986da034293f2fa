"""A running system as its user holds it: ask agents by name, look at the tree, stop it. Sync and async."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, Unpack

from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import OutcomeUnknownError, SystemStoppedError
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter
from dspex_agents.messaging.message import AskOptions, GetMailbox, GetStatus, Pause, Resume, TellOptions, WaitingMessage
from dspex_agents.messaging.router import Router
from dspex_agents.runtime.outside_mail import OutsideMail
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError
from dspex_agents.supervision.child_spec import ChildSpec
from dspex_agents.supervision.registry import Query, Registration

_STOP_TIMEOUT_S = 60.0


class System:
    """A handle on one system. Holds names, never processes: it stays valid through every restart."""

    def __init__(
        self,
        name: str,
        root: Port,
        *,
        runtime: str,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        on_stopped: Callable[[], None] | None = None,
    ) -> None:
        self.name, self.runtime = name, runtime
        self._root, self._on_stopped = root, on_stopped
        self._clock = clock or SystemClock()
        ids = ids or RandomIds()
        self._router = Router(root, self._clock, ids, OutsideMail(root, self._clock, ids).carry)
        self._stopped = False

    def ask(self, to: str, body: Any, **options: Unpack[AskOptions]) -> Any:
        """Return agent `to`'s answer, blocking this thread. Raises a MessageError that says what happened."""
        return self._router.ask_blocking(to, body, **options)

    async def aask(self, to: str, body: Any, **options: Unpack[AskOptions]) -> Any:
        """Return agent `to`'s answer, awaited. Raises a MessageError that says what happened."""
        return await self._router.ask(to, body, **options)

    def tell(self, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """Send a message, blocking this thread until it waits in the agent's mailbox. Raises what kept it out.

        One that comes to nothing after that, such as one not handled within `timeout_s`, is a dead letter.
        """
        self._router.tell_blocking(to, body, **options)

    async def atell(self, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """Send a message and return when it waits in the agent's mailbox; see `tell`."""
        await self._router.tell(to, body, **options)

    def tree(self, timeout_s: float = 10.0) -> TreeNode:
        """Return the tree of supervisors and agents as of now. Raises SystemStoppedError when it is gone."""
        tree: TreeNode = self._ask_root("tree", timeout_s)
        return tree

    def status(self, name: str, timeout_s: float = 5.0) -> AgentStatus:
        """Return one agent's figures, however busy it is."""
        status: AgentStatus = self.ask(name, GetStatus(), timeout_s=timeout_s, control=True)
        return status

    def pause(self, name: str, reason: str = "paused by hand", timeout_s: float = 5.0) -> AgentStatus:
        """Let the agent take no new work; what waits keeps its place."""
        status: AgentStatus = self.ask(name, Pause(reason), timeout_s=timeout_s, control=True)
        return status

    def resume(self, name: str, timeout_s: float = 5.0) -> AgentStatus:
        """Let the agent take work again."""
        status: AgentStatus = self.ask(name, Resume(), timeout_s=timeout_s, control=True)
        return status

    def find(self, query: Query | None = None, *, timeout_s: float = 5.0, **criteria: Any) -> tuple[Registration, ...]:
        """Return the registered agents that fit the query, or `Query(**criteria)`; least loaded first."""
        found: tuple[Registration, ...] = self._ask_root("find", timeout_s, query or Query(**criteria))
        return found

    def start_child(self, supervisor: str, spec: ChildSpec, timeout_s: float = 60.0) -> None:
        """Start an agent under a running supervisor; it is restarted and stopped like those of the specification.

        Raises SpecError for an id in use or an unknown supervisor, and what kept the agent from starting.
        """
        self._order_root("start_children", timeout_s, supervisor, (spec,))

    def start_children(self, supervisor: str, specs: Iterable[ChildSpec], timeout_s: float = 300.0) -> None:
        """Start many agents at once, far quicker than one by one. When one fails, none of them stays."""
        self._order_root("start_children", timeout_s, supervisor, tuple(specs))

    def stop_child(self, name: str, reason: str = "shutdown", timeout_s: float = _STOP_TIMEOUT_S) -> bool:
        """Stop an agent for good and forget its specification; False when there is none of that name."""
        return bool(self._order_root("stop_child", timeout_s, name, reason))

    def restart_child(self, name: str, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Stop an agent in good order and start it again; this counts as no failure. Raises UnknownAgentError."""
        self._order_root("restart_child", timeout_s, name)

    def kill_child(self, name: str, timeout_s: float = 10.0) -> None:
        """End an agent at once, with its process if it has its own; its supervisor decides what follows."""
        self._order_root("kill_child", timeout_s, name)

    def mailbox(self, name: str, limit: int = 100, timeout_s: float = 5.0) -> tuple[WaitingMessage, ...]:
        """Return the messages that wait at an agent, next first, at most `limit`."""
        waiting: tuple[WaitingMessage, ...] = self.ask(name, GetMailbox(limit), timeout_s=timeout_s, control=True)
        return waiting

    def dead_letters(
        self, which: DeadLetterFilter = ALL_LETTERS, limit: int = 1000, timeout_s: float = 10.0
    ) -> tuple[DeadLetter, ...]:
        """Return messages that were told but not taken, oldest first."""
        letters: tuple[DeadLetter, ...] = self._ask_root("dead_letters", timeout_s, which, limit)
        return letters

    def letter_previews(
        self, which: DeadLetterFilter = ALL_LETTERS, limit: int = 1000, timeout_s: float = 10.0
    ) -> tuple[DeadLetter, ...]:
        """Return what `dead_letters` does, with the start of its text in place of each message.

        That can be shown where the message's class is not known.
        """
        letters: tuple[DeadLetter, ...] = self._ask_root("letter_previews", timeout_s, which, limit)
        return letters

    def redrive(self, which: DeadLetterFilter = ALL_LETTERS, timeout_s: float = 10.0) -> int:
        """Send dead letters again and return how many; those that fail again come back with their history."""
        return int(self._order_root("redrive", timeout_s, which))

    def purge(self, which: DeadLetterFilter = ALL_LETTERS, timeout_s: float = 10.0) -> int:
        """Throw dead letters away and return how many."""
        return int(self._order_root("purge", timeout_s, which))

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Stop every agent in reverse order and end their processes. Calling it twice is harmless."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._root.call_blocking("stop", timeout_s=timeout_s)
        except (PortDiedError, PortUnavailableError):
            pass  # it is gone already, which is what was asked for
        finally:
            self._root.kill()
            if self._on_stopped is not None:
                self._on_stopped()

    def _ask_root(self, method: str, timeout_s: float, *args: Any) -> Any:
        """Ask what may be asked twice: a root that is being rebuilt is asked again until the deadline."""
        deadline = self._clock.monotonic() + timeout_s
        while True:
            try:
                return self._root.call_blocking(method, *args, timeout_s=deadline - self._clock.monotonic())
            except PortDiedError:
                raise SystemStoppedError(f"System {self.name!r} is gone.") from None
            except PortUnavailableError:
                if self._clock.monotonic() >= deadline:
                    raise SystemStoppedError(f"System {self.name!r} is being rebuilt; ask again later.") from None

    def _order_root(self, method: str, timeout_s: float, *args: Any) -> Any:
        try:
            return self._root.call_blocking(method, *args, timeout_s=timeout_s)
        except PortDiedError:
            raise SystemStoppedError(f"System {self.name!r} is gone.") from None
        except PortUnavailableError:
            text = f"The root of system {self.name!r} died meanwhile; {method} may or may not have been done."
            raise OutcomeUnknownError(text) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"System({self.name!r}, runtime={self.runtime!r})"
