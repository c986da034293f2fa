"""An agent: what a user writes, and the context it gets from the host it lives in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, Unpack

from dspex_agents.clock import Clock
from dspex_agents.messaging.mailbox import Overflow
from dspex_agents.messaging.message import AskOptions, TellOptions
from dspex_agents.supervision.registry import Query, Registration

if TYPE_CHECKING:
    from dspex_agents.supervision.child_spec import ChildSpec

_T = TypeVar("_T")


class AgentExit(Exception):  # noqa: N818 - an end, not always an error: "normal" is one of its reasons
    """Raised by an agent to end itself; its supervisor decides what follows.

    `normal` and `shutdown` are orderly ends, everything else is abnormal.
    """

    def __init__(self, reason: str = "normal") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What is known of one running agent.

    `idle_s` is the time since it last finished or took up a message, `busy_s` all the time it spent on messages, both
    in seconds; `oldest_s` is how long the oldest message in hand has shown no progress (0 without one). `mailbox` of
    `mailbox_size` messages wait, `in_flight` of at most `concurrency` are being handled.
    """

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
    busy_s: float = 0.0
    oldest_s: float = 0.0
    mailbox_size: int = 0
    concurrency: int = 1
    paused: str = ""
    kind: str = ""
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One node of a system's tree, for people and monitors. `pid` and `memory_bytes` are those of its process.

    `dead_letters` of the top node is how many the hosts keep that answered in time.
    """

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
    node: str = ""
    strategy: str = ""
    dead_letters: int = 0

    def agents(self) -> list[TreeNode]:
        """Return the leaves below, in order."""
        return [self] if self.kind == "agent" else [leaf for child in self.children for leaf in child.agents()]


class Hosting(Protocol):
    """What a host does for its agents. `dspex_agents.testing.LoneHost` stands in for one in tests of a single agent."""

    clock: Clock

    def ask(self, sender: str, to: str, body: Any, **options: Unpack[AskOptions]) -> Coroutine[Any, Any, Any]:
        """See `AgentContext.ask`."""
        ...

    def tell(self, sender: str, to: str, body: Any, **options: Unpack[TellOptions]) -> Coroutine[Any, Any, None]:
        """See `AgentContext.tell`."""
        ...

    async def tree(self) -> TreeNode:
        """See `AgentContext.tree`."""
        ...

    async def find(self, query: Query) -> tuple[Registration, ...]:
        """See `AgentContext.find`."""
        ...

    async def update(self, name: str, epoch: int, changes: Mapping[str, Any]) -> None:
        """See `AgentContext.update`."""
        ...

    async def start_children(self, supervisor: str, specs: Sequence[ChildSpec]) -> None:
        """See `AgentContext.start_children`."""
        ...

    async def stop_child(self, name: str, reason: str = "shutdown") -> bool:
        """See `AgentContext.stop_child`."""
        ...

    async def run_blocking(self, name: str, function: Callable[..., _T], *args: Any) -> _T:
        """See `AgentContext.run_blocking`."""
        ...


class AgentContext:
    """What the host gives an agent before `on_start`: who it is, the time, and the way to all others."""

    __slots__ = ("_host", "epoch", "name")

    def __init__(self, name: str, epoch: int, host: Hosting) -> None:
        self.name, self.epoch, self._host = name, epoch, host

    @property
    def clock(self) -> Clock:
        """Where the time comes from."""
        return self._host.clock

    async def ask(self, to: str, body: Any, **options: Unpack[AskOptions]) -> Any:
        """Return the answer of agent `to`; see `AskOptions`. Raises a MessageError that says what happened.

        Within one host the body is handed over as it is, not copied: do not change it afterwards.
        """
        return await self._host.ask(self.name, to, body, **options)

    async def tell(self, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """Send a message without waiting for what comes of it; waits only while the way to `to` is congested.

        Messages of one sender to one agent arrive in order. One that is not taken (unknown agent, full mailbox, dead
        process, not handled within `timeout_s`) becomes a dead letter; an error of the agent is counted at the agent.
        """
        await self._host.tell(self.name, to, body, **options)

    async def tree(self) -> TreeNode:
        """Return the whole system's tree as of now."""
        return await self._host.tree()

    async def find(self, query: Query | None = None, **criteria: Any) -> tuple[Registration, ...]:
        """Return the registered agents that fit the query, or `Query(**criteria)`; least loaded first."""
        return await self._host.find(query or Query(**criteria))

    async def update(self, **changes: Any) -> None:
        """Change this agent's own registration: `health`, `capabilities`, `resources`, or `metadata` (merged in)."""
        await self._host.update(self.name, self.epoch, changes)

    async def start_child(self, supervisor: str, spec: ChildSpec) -> None:
        """Start an agent under a supervisor of this system and return when it is up. Raises what kept it from that."""
        await self._host.start_children(supervisor, (spec,))

    async def start_children(self, supervisor: str, specs: Iterable[ChildSpec]) -> None:
        """Start many agents at once, far quicker than one by one. When one fails, none of them stays."""
        await self._host.start_children(supervisor, tuple(specs))

    async def stop_child(self, name: str, reason: str = "shutdown") -> bool:
        """Stop an agent and forget its specification; False when there was none of that name."""
        return await self._host.stop_child(name, reason)

    async def run_blocking(self, function: Callable[..., _T], *args: Any) -> _T:
        """Run a function that blocks on a thread, off the event loop; as many at once as the agent's concurrency."""
        return await self._host.run_blocking(self.name, function, *args)


class Agent:
    """Base class of agents. Every method runs on the event loop of the host; none may block it.

    One instance is one incarnation: after a restart a new one is built from the child spec.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset()
    """What every agent of this class can do; the child spec adds to it."""
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
        """Clean up. Called once, after the last message, within the child spec's `shutdown_s`; errors are logged.

        Called for an orderly stop and after `AgentExit`; not when the process is killed.
        """

    def details(self) -> Mapping[str, Any]:
        """Return what `status` should show beyond the common figures, as JSON values."""
        return {}
