"""Directives: what an action decides and its agent performs, as data (Jido's: the action itself stays pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dspex_agents.actions.action_call import ActionCall, Order
from dspex_agents.actions.instruction import Instruction
from dspex_agents.errors import SpecError
from dspex_agents.signals.signal import Signal
from dspex_agents.supervision.child_spec import ChildSpec

Path: TypeAlias = str | tuple[str | int, ...]
"""Where in the state: names and list indexes joined by dots (`totals.eu`, `items.0.price`), or as a tuple."""


class DirectiveError(SpecError):
    """Directives that cannot be performed; `problems` are all of them, one sentence each. None was performed."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return f"{len(self.problems)} bad directive(s), none was performed: {' '.join(self.problems)}"


def path_parts(path: Path) -> tuple[str | int, ...]:
    """Return the steps of a path. Raises DirectiveError."""
    parts: Any = tuple(path.split(".")) if isinstance(path, str) else path
    if not (
        isinstance(parts, tuple) and parts and all(isinstance(p, int) or (isinstance(p, str) and p) for p in parts)
    ):
        raise DirectiveError((f"A path in the state must be names joined by dots, such as 'totals.eu', got {path!r}.",))
    return parts


@dataclass(frozen=True, slots=True)
class SetState:
    """Set these places of the state to these values; what lies above a place must be there already."""

    fields: Mapping[Path, Any]

    def __post_init__(self) -> None:
        given: object = self.fields
        if not (isinstance(given, Mapping) and given):
            raise DirectiveError((f"SetState: fields must map paths to values, got {given!r}.",))
        for path in self.fields:
            path_parts(path)


@dataclass(frozen=True, slots=True)
class DeleteState:
    """Take one place out of the state; a field of the state itself goes back to its default."""

    path: Path

    def __post_init__(self) -> None:
        path_parts(self.path)


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish the signal on `bus`, the agent's own unless given; performed when the bus has stored it."""

    signal: Signal
    bus: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.signal, Signal):
            raise DirectiveError((f"Emit: signal must be a Signal, got {self.signal!r}.",))


@dataclass(frozen=True, slots=True)
class SendTo:
    """Tell another agent the body, without an answer; see `AgentContext.tell`."""

    agent: str
    body: Any

    def __post_init__(self) -> None:
        _check_name("SendTo", "agent", self.agent)


@dataclass(frozen=True, slots=True)
class SpawnChild:
    """Start an agent under a supervisor of the system; performed when it is up."""

    supervisor: str
    spec: ChildSpec

    def __post_init__(self) -> None:
        _check_name("SpawnChild", "supervisor", self.supervisor)
        if not isinstance(self.spec, ChildSpec):
            raise DirectiveError((f"SpawnChild: spec must be a ChildSpec, got {self.spec!r}.",))


@dataclass(frozen=True, slots=True)
class StopChild:
    """Stop an agent and forget its specification. That there is none of the name is no failure."""

    name: str
    reason: str = "shutdown"

    def __post_init__(self) -> None:
        _check_name("StopChild", "name", self.name)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Run the instruction `after_s` seconds from now. It waits in the agent's mailbox and ends with the agent."""

    after_s: float
    instruction: Order

    def __post_init__(self) -> None:
        if not 0 <= self.after_s < math.inf:
            raise DirectiveError((f"Schedule: after_s must be seconds, not negative, got {self.after_s!r}.",))
        _check_order("Schedule", self.instruction)


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Run the instruction when its turn in the agent's mailbox comes."""

    instruction: Order

    def __post_init__(self) -> None:
        _check_order("Enqueue", self.instruction)


@dataclass(frozen=True, slots=True)
class StopSelf:
    """End the agent after this answer, before its next message; nothing may follow it. See `AgentExit` for reasons."""

    reason: str = "normal"

    def __post_init__(self) -> None:
        _check_name("StopSelf", "reason", self.reason)


StateDirective: TypeAlias = SetState | DeleteState
Directive: TypeAlias = StateDirective | Emit | SendTo | SpawnChild | StopChild | Schedule | Enqueue | StopSelf


def described(directive: Directive) -> str:
    """Return a short name of it for people, without the values it carries."""
    match directive:
        case SetState(fields):
            told = ", ".join(".".join(map(str, path_parts(path))) for path in fields)
        case DeleteState(path):
            told = ".".join(map(str, path_parts(path)))
        case Emit(signal):
            told = signal.type
        case SendTo(agent):
            told = agent
        case SpawnChild(_, spec):
            told = spec.id
        case StopChild(name):
            told = name
        case Schedule(_, order) | Enqueue(order):
            told = order.action if isinstance(order, ActionCall) else order.action.name
        case StopSelf(reason):
            told = reason
    return f"{type(directive).__name__}({told})"


def _check_name(kind: str, name: str, value: object) -> None:
    if not (isinstance(value, str) and value):
        raise DirectiveError((f"{kind}: {name} must be text, got {value!r}.",))


def _check_order(kind: str, value: object) -> None:
    if not isinstance(value, (Instruction, ActionCall)):
        raise DirectiveError((f"{kind}: instruction must be an Instruction or an ActionCall, got {value!r}.",))
