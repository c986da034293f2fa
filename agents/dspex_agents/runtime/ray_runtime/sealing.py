"""A specification whose agents' code and data stay packed until they reach the process where the agent will live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cloudpickle

from dspex_agents.agent import Agent
from dspex_agents.supervision.child_spec import AnySpec, ChildSpec, SupervisorSpec
from dspex_agents.supervision.system_spec import SystemSpec


@dataclass(frozen=True, slots=True)
class SealedStart:
    """Builds an agent from its pickled start function and arguments.

    The root keeps it closed: it need not import the agents' modules, which may take longer than all else it does.
    """

    packed: bytes

    def __call__(self) -> Agent:
        """Unpack and build."""
        start, kwargs = cloudpickle.loads(self.packed)
        agent: Agent = start(**kwargs)
        return agent


def sealed(system: SystemSpec) -> SystemSpec:
    """Return the system with every agent's start sealed. Raises what pickling raises."""
    return replace(system, supervisor=_sealed_below(system.supervisor, {}))


def _sealed_below(supervisor: SupervisorSpec, seals: dict[tuple[int, int], SealedStart]) -> SupervisorSpec:
    children: list[AnySpec] = []
    for child in supervisor.children:
        if isinstance(child, SupervisorSpec):
            children.append(_sealed_below(child, seals))
        else:
            children.append(replace(child, start=_seal(child, seals), kwargs={}))
    return replace(supervisor, children=tuple(children))


def _seal(child: ChildSpec, seals: dict[tuple[int, int], SealedStart]) -> SealedStart:
    """Return the child's seal: agents that share their arguments share it, so that a large one travels once."""
    key = (id(child.start), id(child.kwargs))
    if key not in seals:
        parts: Any = (child.start, dict(child.kwargs))
        seals[key] = SealedStart(cloudpickle.dumps(parts))
    return seals[key]
