"""`ValueBook`: what a shared variable decides, as pure functions of its state; the agent keeps the state."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from dspex_agents.actions.directive import Path
from dspex_coordination.shared_variables.messages import Change, HandOver, Join, Propose, Versioned
from dspex_coordination.shared_variables.policy import Average, Leader, Policy
from dspex_coordination.shared_variables.refusals import (
    NotLeaderError,
    SharedVariableError,
    StaleVersionError,
    UnknownVersionError,
)
from dspex_coordination.space import Space
from dspex_coordination.variables import Variable

MOST_AGENTS = 10_000  # members, and observers


class SharedState(BaseModel):
    """All that a shared variable must not forget. `epoch` is the latest incarnation of the leader heard of."""

    version: int = 0
    value: Any = None
    leader: str = ""
    epoch: int = 0
    members: dict[str, float] = {}
    observers: list[str] = []
    history: list[dict[str, Any]] = []


Fields = dict[Path, Any]
"""What changes of a state, by the names of its fields."""


class ValueBook:
    """The rules of one shared variable over `domain`: one variable, or the candidates of a space as mappings.

    The state given is never changed; what a change makes of it is returned as fields. The latest `history` changes are
    kept. Raises SharedVariableError for an average of what has no axis, or a history below 1.
    """

    def __init__(self, domain: Variable[Any] | Space, policy: Policy, history: int = 100) -> None:
        if history < 1:
            raise SharedVariableError(f"history must keep at least 1 change, got {history}.")
        if isinstance(policy, Average) and (
            not isinstance(domain, Variable) or domain.scale not in ("real", "ordinal")
        ):
            raise SharedVariableError(f"Only numbers and ordered options can be averaged, not values of {domain!r}.")
        self.domain, self.policy, self._history = domain, policy, history

    def initial(self) -> Fields:
        """Return the fields of version 0, which has the default."""
        default = self.domain.default().to_json() if isinstance(self.domain, Space) else self.domain.default
        return {"value": default, "leader": self.policy.name if isinstance(self.policy, Leader) else ""}

    def checked(self, value: Any) -> Any:
        """Return the value in its JSON form. Raises VariableError or SpaceError for one outside the domain."""
        if isinstance(self.domain, Space):
            return self.domain.validate(value).to_json()
        return self.domain.validate(value)

    def read(self, state: SharedState, version: int | None) -> Versioned:
        """Return a version. Raises UnknownVersionError for one that never was or is forgotten."""
        if version is None or version == state.version:
            return Versioned(state.version, state.value)
        found = [change for change in state.history if change["version"] == version]
        if not found:
            kept = [change["version"] for change in state.history] or [state.version]
            raise UnknownVersionError(
                f"There is no version {version} any more or yet; kept are {kept[0]} to {kept[-1]}."
            )
        return Versioned(version, found[0]["value"])

    def admitted(self, state: SharedState, asked: Propose) -> Any:
        """Return the checked value of a proposal that may be decided on.

        Raises StaleVersionError, NotLeaderError, or VariableError or SpaceError for a value outside the domain.
        """
        if asked.expected is not None and asked.expected != state.version:
            raise StaleVersionError(asked.expected, state.version)
        if isinstance(self.policy, Leader):
            self._check_leader(state, asked.by, asked.epoch)
        return None if isinstance(self.policy, Average) else self.checked(asked.value)

    def changed(self, state: SharedState, value: Any, asked: Propose, at: float) -> Fields:
        """Return the fields after an accepted proposal, made at `at` (seconds since the epoch)."""
        version, how = state.version + 1, type(self.policy).__name__.lower()
        change = Change(version, value, asked.by, how, at)
        history = [*state.history, asdict(change)][-self._history :]
        epoch = asked.epoch if isinstance(self.policy, Leader) else state.epoch
        return {"version": version, "value": value, "history": history, "epoch": epoch}

    def handed_over(self, state: SharedState, asked: HandOver) -> Fields:
        """Return the fields after the leader named another. Raises NotLeaderError or SharedVariableError."""
        if not isinstance(self.policy, Leader):
            raise SharedVariableError(f"This variable has no leader; it is decided by {self.policy!r}.")
        self._check_leader(state, asked.by, asked.epoch)
        if not asked.to:
            raise SharedVariableError("HandOver: `to` must be the name of an agent, got an empty one.")
        return {"leader": asked.to, "epoch": 0}

    def joined(self, state: SharedState, asked: Join) -> Fields:
        """Return the fields with one member more. Raises SharedVariableError for a bad weight or too many members."""
        if not 0 < asked.weight < float("inf"):
            raise SharedVariableError(f"Join: the weight of {asked.member!r} must be above 0, got {asked.weight!r}.")
        members = {**state.members, asked.member: float(asked.weight)}
        _check_number("members", len(members))
        return {"members": members}

    def observed(self, state: SharedState, observer: str) -> Fields:
        """Return the fields with one observer more. Raises SharedVariableError for too many."""
        observers = list(dict.fromkeys([*state.observers, observer]))
        _check_number("observers", len(observers))
        return {"observers": observers}

    def _check_leader(self, state: SharedState, by: str, epoch: int) -> None:
        if by != state.leader:
            raise NotLeaderError(f"{state.leader!r} leads, not {by!r}.")
        if epoch < state.epoch:
            raise NotLeaderError(f"Incarnation {epoch} of {by!r} is past: {state.epoch} has led since.")


def _check_number(kind: str, number: int) -> None:
    if number > MOST_AGENTS:
        raise SharedVariableError(f"A shared variable has at most {MOST_AGENTS:,} {kind}.")
