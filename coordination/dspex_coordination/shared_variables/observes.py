"""`Observes`: an agent follows shared variables. `TunedTaskAgent`: its worker takes their values between tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dspex_agents.agent import Agent
from dspex_agents.roles.task_agent import TaskAgent, Worker
from dspex_coordination.errors import CoordinationError
from dspex_coordination.shared_variables.messages import Ballot, Observe, Proposal, ValueChanged, Versioned

_START_TIMEOUT_S = 30.0


class Observes(Agent):
    """Put before an agent class: `class Mine(Observes, Agent)`. It follows the shared variables named in `observed`.

    At its start it asks each of them to be told and takes the current value, so they must be up before (`depends_on`);
    after a restart it does so again, and nothing is missed for good. Values that arrive late are passed over.
    """

    observed: Sequence[str] = ()

    async def on_value(self, changed: ValueChanged) -> None:
        """Take a value. Called at the start and after each change, one at a time, a variable's versions rising.

        It stands in the mailbox before the work that waits; with a `concurrency` of 1 nothing else runs meanwhile. If
        it raises at the start, the start has failed; later the error is counted and the value before stays.
        """
        raise NotImplementedError

    async def on_proposal(self, proposal: Proposal) -> Ballot:
        """Answer, as a member, whether a value may be taken, or which one it should be. Must not wait for work.

        If it raises, this member gave no answer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no say in {proposal.variable!r}; override on_proposal.")

    async def on_start(self) -> None:
        """Start, then follow the variables."""
        await super().on_start()
        self._versions: dict[str, int] = {}
        self._taking = asyncio.Lock()  # an agent may have several messages in hand
        for variable in self.observed:
            now: Versioned = await self.context.ask(
                variable, Observe(self.context.name), timeout_s=_START_TIMEOUT_S, retry_safe=True
            )
            await self._take(ValueChanged(variable, now.version, now.value))

    async def on_message(self, body: Any) -> Any:
        """Take news of a variable; all else is the agent's."""
        if isinstance(body, ValueChanged):
            return await self._take(body)
        return await super().on_message(body)

    async def on_control(self, body: Any) -> Any:
        """Answer a proposal; all else is the agent's."""
        if isinstance(body, Proposal):
            return await self.on_proposal(body)
        return await super().on_control(body)

    async def _take(self, news: ValueChanged) -> None:
        async with self._taking:
            if news.version > self._versions.get(news.variable, -1):
                await self.on_value(news)
                self._versions[news.variable] = news.version


class TunedWorker(Worker, Protocol):
    """A worker whose values can be exchanged while it works."""

    async def apply(self, values: Any) -> None:
        """Use these values from the next unit on; one that runs goes on with those it began with.

        Called after `start` and before any unit, then after each change. If it raises, the values before stay in use.
        """
        ...


class TunedTaskAgent(Observes, TaskAgent):
    """A task agent whose `TunedWorker` follows one shared variable. Raises CoordinationError for another worker."""

    def __init__(
        self,
        worker: Callable[..., TunedWorker],
        kwargs: Mapping[str, Any] | None = None,
        *,
        variable: str,
        **options: Any,
    ) -> None:
        """`variable` names the shared variable's agent; all else is a TaskAgent's."""
        super().__init__(worker, kwargs, **options)
        if not callable(getattr(self._worker, "apply", None)):
            raise CoordinationError(f"{type(self._worker).__name__} cannot take new values: it needs `apply(values)`.")
        self.observed = (variable,)

    async def on_value(self, changed: ValueChanged) -> None:
        """Give the worker the new values."""
        worker: Any = self._worker
        await worker.apply(changed.value)

    def details(self) -> Mapping[str, Any]:
        """Return a task agent's figures, and the version of the values in use."""
        return {**super().details(), "values": dict(getattr(self, "_versions", {}))}
