"""What a host tells its root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.agent import AgentStatus
from dspex_agents.supervision.child_spec import HostGroup


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """How the start of one agent went: `error` is what its constructor or `on_start` raised, if it did.

    `capabilities` are its class's, `changes` what it has said of itself since; `node` and `host` say where it lives.
    """

    error: Exception | None = None
    capabilities: frozenset[str] = frozenset()
    kind: str = ""
    node: str = ""
    host: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentExited:
    """The agent of this name and epoch ended by itself; `number` counts the exits of its host."""

    number: int
    name: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """Proof that a host's event loop moves, and the loads that changed since the last one; see `Registration.load`."""

    host_id: str
    loads: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a host tells of itself: process id, resident memory in bytes, the status of each agent.

    `exits` are those that its root has not acknowledged; `dead_letters` is the number of messages kept here that
    were not taken.
    """

    host_id: str
    pid: int
    memory_bytes: int
    agents: tuple[AgentStatus, ...]
    node: str = ""
    group: HostGroup | None = None
    exits: tuple[AgentExited, ...] = ()
    dead_letters: int = 0
