"""A persistent agent for tests that crash it and kill it: a counter whose increments may safely be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from dspex_agents import Action, AgentExit
from dspex_agents.actions.decision import Decision
from dspex_agents.actions.directive import SetState
from dspex_agents.roles.persistent_agent import PersistentAgent

_REMEMBERED = 2000


class CounterState(BaseModel):
    total: int = 0
    done: dict[str, int] = {}
    """What each increment of the latest 2,000 brought the total to, by its key."""
    runs: int = 0
    """Increments of this incarnation alone."""


class Increment(BaseModel):
    key: str
    by: int = 1


class Total(BaseModel):
    total: int


class Nothing(BaseModel):
    pass


class Add(Action[Increment, Total]):
    """Count up, once for each key."""

    async def run(self, params: Increment, context: Mapping[str, Any]) -> Total | Decision:
        state: CounterState = context["state"]
        if params.key in state.done:
            return Total(total=state.done[params.key])
        total = state.total + params.by
        done = dict(list({**state.done, params.key: total}.items())[-_REMEMBERED:])
        return Decision(Total(total=total), SetState({"total": total, "done": done, "runs": state.runs + 1}))


class Read(Action[Nothing, Total]):
    """Tell the total."""

    async def run(self, params: Nothing, context: Mapping[str, Any]) -> Total:
        return Total(total=context["state"].total)


class Crash(Action[Nothing, Total]):
    """End abnormally."""

    async def run(self, params: Nothing, context: Mapping[str, Any]) -> Total:
        raise AgentExit("crashed on request")


class Counter(PersistentAgent):
    """Counts, and forgets nothing."""

    capabilities = frozenset({"counting"})
    actions = (Add, Read, Crash)
    State = CounterState
    persistent_fields = ("total", "done")
