"""A port: how one process calls a host or a root that may live in another one. The runtimes implement it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


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


class HostFactory(Protocol):
    """Makes host processes for a root, and finds those that outlived an earlier incarnation of it."""

    async def start_host(self, host_id: str, preload: tuple[str, ...]) -> Port:
        """Start a host, import the `preload` modules in it, and return its port once it answers."""
        ...

    async def living_hosts(self) -> dict[str, Port]:
        """Return the hosts of this system that are alive, by id."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where an agent lives now: the host's port and the agent's incarnation."""

    port: Port
    epoch: int
