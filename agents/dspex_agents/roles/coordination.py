"""Asking several agents the same, and what came back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentSystemError, SpecError
from dspex_agents.supervision.registry import Query

Others: TypeAlias = Query | Sequence[str]
"""Agents by name, or whoever fits a query."""


class NobodyFitsError(AgentSystemError):
    """No other agent of the system fits the query."""


@dataclass(frozen=True, slots=True)
class Coordination:
    """What the agents asked have answered, and the errors of those that did not, both by name."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, AgentSystemError] = field(default_factory=dict)


async def coordinate(context: AgentContext, others: Others, task: Any, timeout_s: float) -> Coordination:
    """Ask all of them at once, each for at most `timeout_s` seconds; one that fails keeps no other from answering.

    Raises NobodyFitsError, and SpecError for names among which the asker is, or none.
    """
    names = await _names(context, others)
    outcomes = await asyncio.gather(*(_outcome(context, name, task, timeout_s) for name in names))
    pairs = list(zip(names, outcomes, strict=True))
    return Coordination(
        {name: value for name, (value, error) in pairs if error is None},
        {name: error for name, (_, error) in pairs if error is not None},
    )


async def _names(context: AgentContext, others: Others) -> list[str]:
    if isinstance(others, Query):
        found = await context.find(others)
        if names := [registration.name for registration in found if registration.name != context.name]:
            return names
        raise NobodyFitsError(f"Agent {context.name!r} found no other agent that fits {others!r}.")
    if isinstance(others, str) or not others:
        raise SpecError(f"agents to coordinate with must be a list of names or a Query, got {others!r}.")
    if context.name in others:
        raise SpecError(f"agent {context.name!r} would wait for itself: take it out of the agents to coordinate with.")
    return list(dict.fromkeys(others))


async def _outcome(
    context: AgentContext, name: str, task: Any, timeout_s: float
) -> tuple[Any, None] | tuple[None, AgentSystemError]:
    try:
        return await context.ask(name, task, timeout_s=timeout_s), None
    except AgentSystemError as error:
        return None, error
