"""Who there is in a system: supervisors, agents, whom each belongs to, who came at run time and who is gone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dspex_agents.errors import SpecError, UnknownAgentError
from dspex_agents.runtime.port import HostFactory
from dspex_agents.supervision.child_spec import AnySpec, ChildSpec, check_unique
from dspex_agents.supervision.events import Removed
from dspex_agents.supervision.supervisor_state import SupervisorState

_REMEMBERED_ENDS = 10_000


@dataclass(slots=True, eq=False)
class Supervisor:
    """A supervisor at run time: its pure state and its place under its parent."""

    state: SupervisorState
    parent: Supervisor | None = None
    epoch: int = 0

    @property
    def id(self) -> str:
        """The id of its specification."""
        return self.state.spec.id


class Directory:
    """The tables of a root. What must outlive the root is kept through its factory."""

    def __init__(self, factory: HostFactory) -> None:
        self._factory = factory
        self.specs: dict[str, ChildSpec] = {}
        self.owner: dict[str, Supervisor] = {}
        self.supervisors: dict[str, Supervisor] = {}
        self._added: dict[str, dict[str, AnySpec]] = {}
        self._retired: set[str] = set()
        self._ends: OrderedDict[str, str] = OrderedDict()

    def recall(self) -> None:
        """Take in what an earlier root kept: children added at run time, and those removed."""
        self._retired = self._factory.retired()
        for id_, (supervisor, spec) in self._factory.remembered().items():
            self._added.setdefault(supervisor, {})[id_] = spec

    def forget_all(self) -> None:
        """Keep nothing: the system is over."""
        self._factory.forget([id_ for added in self._added.values() for id_ in added])

    def added_to(self, supervisor: str) -> Collection[AnySpec]:
        """Return the children that a supervisor was given at run time."""
        return self._added.get(supervisor, {}).values()

    @property
    def retired(self) -> Collection[str]:
        """Return the children of the specification that were removed."""
        return self._retired

    def enter(self, supervisor: Supervisor) -> None:
        """Take in a supervisor with the agents below it, in place of its earlier incarnation."""
        self.supervisors[supervisor.id] = supervisor
        for id_, child in supervisor.state.children.items():
            if isinstance(child.spec, ChildSpec):
                self.specs[id_], self.owner[id_] = child.spec, supervisor

    def check_new(self, supervisor: str, specs: Sequence[ChildSpec], system: str) -> Supervisor:
        """Return the supervisor that these children may be added to. Raises SpecError."""
        if supervisor not in self.supervisors:
            known = ", ".join(sorted(self.supervisors))
            raise SpecError(f"No supervisor {supervisor!r} in system {system!r}. There are: {known}.")
        ids = [spec.id for spec in specs]
        check_unique((*ids, *{*self.owner, *self.supervisors}.intersection(ids)), f"system {system!r}")
        return self.supervisors[supervisor]

    def admit(self, supervisor: Supervisor, specs: Sequence[AnySpec]) -> None:
        """Take in children added at run time, before any of them starts: they must outlive us."""
        self._factory.remember({spec.id: (supervisor.id, spec) for spec in specs})
        for spec in specs:
            self._added.setdefault(supervisor.id, {})[spec.id] = spec
            if isinstance(spec, ChildSpec):
                self.specs[spec.id], self.owner[spec.id] = spec, supervisor
            self._ends.pop(spec.id, None)
        if back := self._retired & {spec.id for spec in specs}:
            self._retired -= back
            self._factory.retire(self._retired)

    def remove(self, supervisor: Supervisor, removed: Removed) -> ChildSpec | None:
        """Forget a child, but for the reason of its end; return its specification."""
        self.owner.pop(removed.id, None)
        if self._added.get(supervisor.id, {}).pop(removed.id, None) is not None:
            self._factory.forget([removed.id])
        else:
            self._retired.add(removed.id)
            self._factory.retire(self._retired)
        self._ends[removed.id] = removed.reason
        if len(self._ends) > _REMEMBERED_ENDS:
            self._ends.popitem(last=False)
        return self.specs.pop(removed.id, None)

    def is_unknown(self, name: str) -> bool:
        """Say whether there neither is nor was an agent of this name."""
        return name not in self.specs and name not in self._ends

    def owner_of(self, name: str) -> Supervisor:
        """Return the supervisor of an agent. Raises UnknownAgentError."""
        if name not in self.owner:
            raise UnknownAgentError.among(name, self.specs)
        return self.owner[name]

    def is_starting(self, name: str) -> bool:
        """Say whether an agent is on its way up."""
        owner = self.owner.get(name)
        return owner is not None and owner.state.children[name].status in ("starting", "backoff")

    def end_of(self, name: str) -> str | None:
        """Return why the agent, or a supervisor above it, ended for good; None while it may come (back) up."""
        if name not in self.owner:
            return self._ends.get(name, "unknown")
        id_, above = name, self.owner.get(name)
        while above is not None:
            child = above.state.children.get(id_)
            if child is None or child.status in ("ended", "removed"):
                return child.last_reason if child else "removed"
            id_, above = above.id, above.parent
        return None
