"""`Decision`: an action's output together with the directives it decided on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from dspex_agents.actions.action import NO_CONTEXT, AnyAction, run_action
from dspex_agents.actions.directive import Directive
from dspex_agents.actions.instruction import Instruction
from dspex_agents.clock import Clock


class Decision(dict[str, Any]):
    """What `Action.run` returns to have its agent do more than answer: `Decision(output, SetState(...), Emit(...))`.

    Where an action runs outside an agent there is nobody to perform directives: it counts as its output alone.
    """

    def __init__(self, output: BaseModel | Mapping[str, Any], *directives: Directive) -> None:
        super().__init__(output if isinstance(output, Mapping) else _by_alias(output))
        self.output, self.directives = output, directives

    def __repr__(self) -> str:
        return f"Decision({', '.join(map(repr, (self.output, *self.directives)))})"


def _by_alias(output: BaseModel) -> dict[str, Any]:
    fields = type(output).model_fields
    return {described.alias or name: getattr(output, name) for name, described in fields.items()}


async def decide(
    instruction: Instruction, *, context: Mapping[str, Any] = NO_CONTEXT, clock: Clock | None = None
) -> tuple[BaseModel, tuple[Directive, ...]]:
    """Run the instruction as `run_action` does and return its checked output and its directives, not yet checked."""
    decided: list[Directive] = []
    action = _noting(instruction.action, decided)
    timeout_s = instruction.timeout_s
    output: BaseModel = await run_action(action, instruction.params, context=context, timeout_s=timeout_s, clock=clock)
    return output, tuple(decided)


def _noting(action: AnyAction, decided: list[Directive]) -> AnyAction:
    """Return a copy of the action whose `run` notes the directives of a Decision and returns the output alone."""

    async def run(params: BaseModel, context: Mapping[str, Any]) -> Any:
        result = await action.run(params, context)
        if not isinstance(result, Decision):
            return result
        decided.extend(result.directives)
        return result.output

    noting = copy.copy(action)
    vars(noting)["run"] = run  # on this copy alone: an action may run many times at once
    return noting
