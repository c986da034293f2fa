"""An agent: what a user writes, and the context it gets from the host it lives in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from dspex_agents.clock import Clock
from dspex_agents.messaging.mailbox import Overflow
from dspex_agents.messaging.message import Priority


class AgentExit(Exception):  # noqa: N818 - an end, not always an error: "normal" is one of its reasons
    """Raised by an agent to end itself; its supervisor decides what follows.

    `normal` and `shutdown` are orderly ends, everything else is abnormal.
    """

    def __init__(self, reason: str = "normal") -> None:
        super().__init__(reason)
        self.reason = reason


class Ask(Protocol):
    """How an agent asks another one."""

    def __call__(
        self,
        to: str,
        body: Any,
        *,
        timeout_s: float = 30.0,
        priority: Priority = Priority.NORMAL,
        control: bool = False,
        key: str | None = None,
        retry_safe: bool = False,
    ) -> Awaitable[Any]:
        """Return the answer of agent `to`; see `Router.ask`."""
        ...


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What the host gives an agent before `on_start`."""

    name: str
    epoch: int
    clock: Clock
    ask: Ask
    tree: Callable[[], Awaitable[TreeNode]]


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What is known of one running agent. `idle_s` is the time since it last finished or took up a message."""

    name: str
    epoch: int
    status: str
    mailbox: int
    in_flight: int
    handled: int
    failed: int
    started_at: float
    idle_s: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One node of a system's tree, for people and monitors. `pid` and `memory_bytes` are those of its process."""

    id: str
    kind: str
    status: str
    restarts: int = 0
    last_reason: str = ""
    host: str = ""
    pid: int = 0
    memory_bytes: int = 0
    agent: AgentStatus | None = None
    children: tuple[TreeNode, ...] = ()

    def agents(self) -> list[TreeNode]:
        """Return the leaves below, in order."""
        return [self] if self.kind == "agent" else [leaf for child in self.children for leaf in child.agents()]


class Agent:
    """Base class of agents. Every method runs on the event loop of the host; none may block it.

    One instance is one incarnation: after a restart a new one is built from the child spec.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset()
    concurrency: int = 1
    """How many messages are handled at once; the rest wait in the mailbox."""
    mailbox_size: int = 1000
    overflow: Overflow = "reject"
    context: AgentContext

    async def on_start(self) -> None:
        """Prepare. Called once, before the first message; if it raises, the start has failed."""

    async def on_message(self, body: Any) -> Any:
        """Handle one message and return the answer.

        An exception is answered to the asker and the agent lives on; AgentExit ends the agent. On `Cancel` or a
        passed deadline, asyncio.CancelledError is raised inside.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no message of type {type(body).__name__}.")

    async def on_control(self, body: Any) -> Any:
        """Answer a control message of the agent's own, at once, beside whatever runs. Must not wait for work."""
        raise NotImplementedError(f"{type(self).__name__} knows no control message {type(body).__name__}.")

    async def on_stop(self, reason: str) -> None:
        """Clean up. Called once, after the last message, within the child spec's `shutdown_s`; errors are logged."""

    def details(self) -> Mapping[str, Any]:
        """Return what `status` should show beyond the common figures, as JSON values."""
        return {}
