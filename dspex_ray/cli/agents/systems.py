"""Which running system a command works on: the one named, or the only one there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import typer

from dspex_agents.agent import TreeNode
from dspex_agents.errors import UnknownAgentError
from dspex_agents.runtime.system import System
from dspex_ray.cli.cluster import cluster
from dspex_ray.errors import ClusterError, UnknownNameError, UsageError


class Systems(Protocol):
    """The systems that run somewhere. Whoever calls the command line from Python may pass in others than Ray's."""

    def names(self) -> list[str]:
        """Return the names of all."""
        ...

    def find(self, name: str) -> System:
        """Return a handle on one. Raises RuntimeUnavailableError when it is gone."""
        ...


class ClusterSystems:
    """The systems on the connected Ray cluster."""

    def names(self) -> list[str]:
        """Return the names of all, in order."""
        from dspex_agents.runtime.ray_runtime import ray_systems  # noqa: PLC0415 - loads ray

        return ray_systems()

    def find(self, name: str) -> System:
        """Return a handle on one. Raises RuntimeUnavailableError when it is gone."""
        from dspex_agents.runtime.ray_runtime import find_ray_system  # noqa: PLC0415 - loads ray

        return find_ray_system(name)


@contextmanager
def running_systems(context: typer.Context, address: str | None) -> Iterator[Systems]:
    """Be where systems run: on the cluster, or with those that the caller passed in. Raises ClusterError."""
    if context.obj is not None:
        passed_in: Systems = context.obj
        yield passed_in
        return
    with cluster(address, may_start=False):
        yield ClusterSystems()


@contextmanager
def chosen_system(context: typer.Context, name: str | None, address: str | None) -> Iterator[System]:
    """Give the system of this name, or the only one that runs.

    Raises ClusterError when none runs or it does not answer, UsageError or UnknownNameError when the name does not do.
    """
    with running_systems(context, address) as systems:
        system = systems.find(choose(name, systems.names()))
        try:
            yield system
        except TimeoutError as error:
            raise ClusterError(f"System {system.name!r} did not answer in time: {error}.") from error


def choose(name: str | None, names: Sequence[str]) -> str:
    """Return the name, or the only one there is."""
    if not names:
        raise ClusterError(
            "No system of agents runs on this cluster. Start one from Python, by a program's to_agent_system() or by "
            "start_ray_system(); it ends with the process that started it unless it is detached."
        )
    if name is None and len(names) > 1:
        raise UsageError(f"{len(names)} systems run: {', '.join(sorted(names))}. Say which one is meant.")
    if name is not None and name not in names:
        raise UnknownNameError("system", name, names)
    return name or names[0]


@contextmanager
def agent_known(system: System, name: str) -> Iterator[None]:
    """Turn the error that no agent has this name into one of the command line, with near matches."""
    try:
        yield
    except UnknownAgentError:
        raise unknown_agent(name, system.tree()) from None


def unknown_agent(name: str, tree: TreeNode) -> UnknownNameError:
    """Return the error that no agent of the tree has this name."""
    return UnknownNameError("agent", name, (node.id for node in tree.agents()))
