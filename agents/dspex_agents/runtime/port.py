"""Ports: how one process calls a host or a root that may live in another one. The runtimes implement them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dspex_agents.supervision.child_spec import AnySpec


class PortDiedError(Exception):
    """The process behind the port is gone for good; a call in flight may or may not have been executed.

    Never seen by users: supervisors act on it, routers turn it into an OutcomeUnknownError.
    """


class PortUnavailableError(Exception):
    """The process behind the port cannot be reached now, but may come back (a root being restarted)."""


class Port(Protocol):
    """Calls a method of one remote object by name. Arguments and results must pickle.

    Every call raises PortDiedError or PortUnavailableError when the process is gone, TimeoutError after `timeout_s`
    seconds (None waits for ever), and otherwise what the method raised.
    """

    @property
    def address(self) -> str:
        """The remote object's name, unique in its runtime."""
        ...

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call and await the result."""
        ...

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call and block the calling thread until the result is there. Never use it on an event loop."""
        ...

    def kill(self) -> None:
        """End the process at once, without clean-up."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOrder:
    """A host process to be started.

    `resources` must be free on its node; with `spread` any node will do, otherwise that of whoever started the system
    is preferred. The modules of `preload` are imported first. Its watchdog ends it after `hang_s` seconds of standing
    still. Its dead letters go to the agent `dead_letters`, if one is named.
    """

    id: str
    preload: tuple[str, ...] = ()
    resources: Mapping[str, float] = field(default_factory=dict)
    spread: bool = False
    hang_s: float = 30.0
    dead_letters: str | None = None


class HostFactory(Protocol):
    """What a runtime does for a root: host processes, and memory of what must outlive the root."""

    async def start_host(self, order: HostOrder) -> Port:
        """Start a host and return its port once it answers. Raises ClusterTooSmallError when there is no room."""
        ...

    async def living_hosts(self) -> dict[str, Port]:
        """Return the hosts of this system that are alive, by id; called once, by a root that was restarted."""
        ...

    def check_room(self, demands: Sequence[Mapping[str, float]]) -> None:
        """Raise ClusterTooSmallError, naming what is missing, when processes with these resources can never fit."""
        ...

    def remember(self, children: Mapping[str, tuple[str, AnySpec]]) -> None:
        """Keep children that were added at run time (id to supervisor and spec); durable on return."""
        ...

    def forget(self, ids: Iterable[str]) -> None:
        """Drop remembered children; durable on return."""
        ...

    def remembered(self) -> dict[str, tuple[str, AnySpec]]:
        """Return the children that are remembered, in the order in which they were added."""
        ...

    def retire(self, ids: Collection[str]) -> None:
        """Keep which children of the specification were removed for good; durable on return."""
        ...

    def retired(self) -> set[str]:
        """Return the children that were removed."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where an agent lives now: the host's port and the agent's incarnation."""

    port: Port
    epoch: int
