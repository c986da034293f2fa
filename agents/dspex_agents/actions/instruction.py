"""`Instruction`: an action with what it is to be run with; and chains of them, undone from the end when one fails."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import BaseModel

from dspex_agents.actions.action import (
    NO_CONTEXT,
    Action,
    ActionError,
    AnyAction,
    Compensation,
    run_action,
    undo,
)
from dspex_agents.clock import Clock
from dspex_agents.errors import SpecError


@dataclass(frozen=True, slots=True)
class Instruction:
    """Run `action` with `params`, and `context` over the caller's. `timeout_s` is the action's own unless given."""

    action: AnyAction
    params: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    id: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.action, Action):
            raise SpecError(f"instruction: action must be an Action, got {self.action!r}.")
        if not isinstance(self.params, Mapping):
            kind = type(self.params).__name__
            raise SpecError(f"instruction {self.action.name!r}: params must map names to values, got a {kind}.")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise SpecError(f"instruction {self.action.name!r}: timeout_s must be above 0, got {self.timeout_s!r}.")


AnyInstruction: TypeAlias = Instruction | AnyAction | tuple[AnyAction, Mapping[str, Any]]


def to_instructions(
    items: Sequence[AnyInstruction], allowed: Collection[type[AnyAction]] | None = None
) -> tuple[Instruction, ...]:
    """Return bare actions, (action, params) pairs and instructions as instructions.

    Raises SpecError for anything else, and for actions that are not of the `allowed` classes.
    """
    instructions = []
    for item in items:
        match item:
            case Instruction():
                instructions.append(item)
            case Action():
                instructions.append(Instruction(item))
            case (Action() as action, Mapping() as params):
                instructions.append(Instruction(action, params))
            case _:
                raise SpecError(f"an instruction is an Action, (Action, params) or an Instruction, got {item!r}.")
    if allowed is not None:
        refused = sorted({i.action.name for i in instructions if type(i.action) not in allowed})
        if refused:
            names = ", ".join(sorted(action.name for action in allowed)) or "none"
            raise SpecError(f"actions not allowed here: {', '.join(refused)}. Allowed: {names}.")
    return tuple(instructions)


@dataclass(frozen=True, slots=True)
class StepCompensation:
    """How undoing one earlier step of a failed chain went."""

    position: int
    action: str
    compensation: Compensation


class ChainFailedError(ActionError):
    """A chain that stopped: `position` (from 0) is the failed step, `error` its error.

    `compensations` are those of the steps before it, in the order in which they were undone: last done, first undone.
    """

    position: int = 0
    error: ActionError | None = None
    compensations: tuple[StepCompensation, ...] = ()

    def __str__(self) -> str:
        undone = [f"{c.action}: {c.compensation}" for c in self.compensations]
        told = f" Steps before it: {'; '.join(undone)}." if undone else ""
        return f"Step {self.position + 1} of the chain: {self.error}{told}"


async def run_chain(
    instructions: Sequence[AnyInstruction],
    params: Mapping[str, Any] | None = None,
    *,
    context: Mapping[str, Any] = NO_CONTEXT,
    clock: Clock | None = None,
) -> tuple[BaseModel, ...]:
    """Run actions one after another and return their outputs, in order.

    A step is given its own `params` and, where these say nothing, the fields it knows of `params` and of all outputs
    before it (the latest of a name counts). When a step fails, those before it that can be are undone, last first.
    Raises ChainFailedError.
    """
    known = dict(params or {})
    done: list[tuple[Instruction, BaseModel]] = []
    outputs: list[BaseModel] = []
    for position, instruction in enumerate(to_instructions(instructions)):
        action = instruction.action
        given = {**_fitting(action, known), **instruction.params}
        try:
            around = {**context, **instruction.context}
            output = await run_action(action, given, context=around, timeout_s=instruction.timeout_s, clock=clock)
        except ActionError as error:
            raise await _chain_failure(position, error, done, context) from error
        done.append((instruction, action.Input.model_validate(given)))
        outputs.append(output)
        known |= dict(output)
    return tuple(outputs)


def _fitting(action: AnyAction, known: Mapping[str, Any]) -> dict[str, Any]:
    names: set[str] = set()
    for name, described in action.Input.model_fields.items():
        names |= {name, described.alias or name}
    return {name: value for name, value in known.items() if name in names}


async def _chain_failure(
    position: int, error: ActionError, done: Sequence[tuple[Instruction, BaseModel]], context: Mapping[str, Any]
) -> ChainFailedError:
    undone = []
    for place, (instruction, params) in reversed(list(enumerate(done))):
        around = {**context, **instruction.context}
        outcome = await undo(instruction.action, params, around, error)
        undone.append(StepCompensation(place, instruction.action.name, outcome))
    failure = ChainFailedError(error.action, error.problem)
    failure.position, failure.error, failure.compensations = position, error, tuple(undone)
    return failure
