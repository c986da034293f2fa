"""A whole system as data: its tree, its host processes, how soon a silent one is given up."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.errors import SpecError
from dspex_agents.supervision.child_spec import ChildSpec, HostGroup, SupervisorSpec, check_id, check_unique

_MOST_LISTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSpec:
    """A whole system: its name (unique in its namespace) and its top supervisor.

    `preload` names modules that every host imports before it takes agents; `spare_hosts` are kept warm so that agents
    whose process died come back without waiting for one to start. `hosts` describes groups of shared processes; one
    that is not described is a single process beside the root.

    Every `heartbeat_s` seconds the root hears from each host's event loop. A host whose loop has stood still for
    `hang_s` is ended, with its agents restarted elsewhere; the agent that blocked it gets a process of its own from
    then on. `partition` is the tenant whose system this is.

    `dead_letters` is the `DeadLetterAgent` of this system that the hosts hand their dead letters on to; without one
    they die with the process of their host.
    """

    name: str
    supervisor: SupervisorSpec
    preload: tuple[str, ...] = ()
    spare_hosts: int = 0
    seed: int = 0
    hosts: tuple[HostGroup, ...] = ()
    heartbeat_s: float = 1.0
    hang_s: float = 30.0
    partition: str = ""
    dead_letters: str | None = None

    def __post_init__(self) -> None:
        check_id(self.name)
        if self.spare_hosts < 0:
            raise SpecError(f"system {self.name!r}: spare_hosts must not be negative, got {self.spare_hosts}.")
        if not 0 < self.heartbeat_s < self.hang_s:
            raise SpecError(
                f"system {self.name!r}: heartbeat_s must be above 0 and below hang_s, "
                f"got {self.heartbeat_s} and {self.hang_s}."
            )
        agents = [agent.id for agent in self.supervisor.agents()]
        if self.dead_letters is not None and self.dead_letters not in agents:
            raise SpecError(
                f"system {self.name!r}: dead_letters must be one of its agents ({', '.join(agents[:_MOST_LISTED])}), "
                f"got {self.dead_letters!r}."
            )
        check_unique((group.name for group in self.hosts), f"system {self.name!r}, hosts")

    def group_of(self, spec: ChildSpec) -> HostGroup:
        """Return the processes in which the agent may live."""
        if spec.isolation == "own":
            return own_group(spec)
        return next((group for group in self.hosts if group.name == spec.host), HostGroup(name=spec.host))


def own_group(spec: ChildSpec) -> HostGroup:
    """Return the group of one process for one agent."""
    return HostGroup(name=f"own:{spec.id}", most_agents=1, resources=spec.resources, spread=True)
