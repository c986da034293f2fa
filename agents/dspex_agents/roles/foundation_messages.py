"""What a foundation agent is asked beside actions and signals."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.errors import AgentSystemError


@dataclass(frozen=True, slots=True)
class GetState:
    """Control: answer with a copy of the agent's state, an instance of its `State`. Counts as no work."""


class UnknownActionError(AgentSystemError):
    """An action that the agent was not given; the message names those that it has. Nothing ran."""


class NoRouteError(AgentSystemError):
    """A signal whose type fits none of the agent's routes; the message names them. Nothing ran."""


@dataclass(frozen=True, slots=True)
class EndNow:
    """To itself: end, if that was decided; a later incarnation takes no notice."""
