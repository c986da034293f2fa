"""A running system as its user holds it: ask agents by name, look at the tree, stop it. Sync and async."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import SystemStoppedError
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.messaging.message import GetStatus, Pause, Priority, Resume
from dspex_agents.messaging.router import Router
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError

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
        self._router = Router(root, clock or SystemClock(), ids or RandomIds(), sender="driver")
        self._stopped = False

    def ask(
        self,
        to: str,
        body: Any,
        *,
        timeout_s: float = 30.0,
        priority: Priority = Priority.NORMAL,
        control: bool = False,
        key: str | None = None,
        retry_safe: bool = False,
    ) -> Any:
        """Return agent `to`'s answer, blocking this thread. Raises a MessageError that says what happened."""
        return self._router.ask_blocking(
            to, body, timeout_s=timeout_s, priority=priority, control=control, key=key, retry_safe=retry_safe
        )

    async def aask(
        self,
        to: str,
        body: Any,
        *,
        timeout_s: float = 30.0,
        priority: Priority = Priority.NORMAL,
        control: bool = False,
        key: str | None = None,
        retry_safe: bool = False,
    ) -> Any:
        """Return agent `to`'s answer, awaited. Raises a MessageError that says what happened."""
        return await self._router.ask(
            to, body, timeout_s=timeout_s, priority=priority, control=control, key=key, retry_safe=retry_safe
        )

    def tree(self, timeout_s: float = 10.0) -> TreeNode:
        """Return the tree of supervisors and agents as of now. Raises SystemStoppedError when it is gone."""
        tree: TreeNode = self._call_root("tree", timeout_s)
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

    def _call_root(self, method: str, timeout_s: float) -> Any:
        try:
            return self._root.call_blocking(method, timeout_s=timeout_s)
        except PortDiedError:
            raise SystemStoppedError(f"System {self.name!r} is gone.") from None
        except PortUnavailableError:
            raise SystemStoppedError(f"System {self.name!r} is being rebuilt; ask again in a moment.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"System({self.name!r}, runtime={self.runtime!r})"
