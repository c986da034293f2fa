"""A whole system as data: its tree, its host processes, how soon a silent one is given up."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.errors import SpecError
from dspex_agents.supervision.child_spec import ChildSpec, HostGroup, SupervisorSpec, check_id, check_unique


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSpec:
    """A whole system: its name (unique in its namespace) and its top supervisor.

    `preload` names modules that every host imports before it takes agents; `spare_hosts` are kept warm so that agents
    whose process died come back without waiting for one to start. `hosts` describes groups of shared processes; one
    that is not described is a single process beside the root.

    Every `heartbeat_s` seconds the root hears from each host's event loop. A host whose loop has stood still for
    `hang_s` is ended, with its agents restarted elsewhere; the agent that blocked it gets a process of its own from
    then on. `partition` is the tenant whose system this is.
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

    def __post_init__(self) -> None:
        check_id(self.name)
        if self.spare_hosts < 0:
            raise SpecError(f"system {self.name!r}: spare_hosts must not be negative, got {self.spare_hosts}.")
        if not 0 < self.heartbeat_s < self.hang_s:
            raise SpecError(
                f"system {self.name!r}: heartbeat_s must be above 0 and below hang_s, "
                f"got {self.heartbeat_s} and {self.hang_s}."
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
