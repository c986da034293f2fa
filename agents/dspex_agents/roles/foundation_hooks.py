"""The hooks of a foundation agent: when each is called, and what follows if it raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from dspex_agents.actions.action import NO_CONTEXT
from dspex_agents.actions.directive import Directive
from dspex_agents.actions.instruction import Instruction
from dspex_agents.agent import Agent, AgentContext


class FoundationHooks(Agent):
    """Every hook runs on the host's event loop and does nothing by itself.

    Overriding one without `super()` takes nothing away: registration, saving and telemetry are no hooks.
    """

    async def on_mount(self, context: AgentContext) -> None:
        """Prepare. Called once at the start: the agent is registered, its state is there, no message has come.

        If it raises, the start has failed and the supervisor decides.
        """

    async def on_before_run(self, instruction: Instruction) -> None:
        """Look at an instruction. Called before each action, which is one of the agent's own.

        If it raises, the action does not run, and the asker is answered with the error, after `on_error`.
        """

    async def on_after_run(
        self, instruction: Instruction, result: BaseModel, directives: tuple[Directive, ...]
    ) -> Sequence[Directive] | None:
        """Look at what came of an action; return other directives, or None to leave them as they are.

        Called after each action that succeeded, before its directives take effect. If it raises, none takes effect,
        the state stays, and the asker is answered with the error, after `on_error`.
        """

    async def on_error(self, error: Exception) -> Exception | None:
        """Look at an error before the asker gets it; return another one to answer with, or None to leave it.

        Called when an action, a hook around it, or its directives failed, and not for what never began (an unknown
        action, a signal without a route). If it raises, that is answered.
        """

    async def on_shutdown(self, reason: str) -> None:
        """Clean up. Called once, when the last effects are done, for an orderly stop and after an end by itself.

        What it raises is logged, and the rest of the stop (saving, telemetry) goes on. Not called for a killed agent.
        """

    def action_context(self) -> Mapping[str, Any]:
        """Return what else actions find in their context, such as shared clients. Called before each action."""
        return NO_CONTEXT
