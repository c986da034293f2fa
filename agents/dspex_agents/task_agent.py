"""The task agent: does one kind of work, several units at a time, and answers for its figures at any moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dspex_agents.agent import Agent, AgentContext


class Worker(Protocol):
    """What a task agent is given to do. Runs on the host's event loop and must not block it."""

    async def start(self, context: AgentContext) -> None:
        """Prepare; called once before the first unit. If it raises, the agent's start has failed."""
        ...

    async def perform(self, payload: Any) -> Any:
        """Do one unit and return its result. Several may run at once, up to the agent's concurrency."""
        ...

    async def stop(self) -> None:
        """Clean up; called once, last."""
        ...


@dataclass(slots=True)
class _Figures:
    done: int = 0
    failed: int = 0
    total_s: float = 0.0
    fastest_s: float | None = None
    slowest_s: float | None = None
    errors: dict[str, int] = field(default_factory=dict)


class TaskAgent(Agent):
    """Performs work with a `Worker` built in the process where the agent lives."""

    capabilities = frozenset({"task"})

    def __init__(
        self,
        worker: Callable[..., Worker],
        kwargs: Mapping[str, Any] | None = None,
        *,
        concurrency: int = 1,
        mailbox_size: int = 1000,
    ) -> None:
        """`worker(**kwargs)` builds the worker; both pickle."""
        self._worker = worker(**(kwargs or {}))
        self.concurrency, self.mailbox_size = concurrency, mailbox_size
        self._figures = _Figures()

    async def on_start(self) -> None:
        """Start the worker."""
        await self._worker.start(self.context)

    async def on_message(self, body: Any) -> Any:
        """Perform the body; what the worker raises is counted and answered."""
        started = self.context.clock.monotonic()
        try:
            result = await self._worker.perform(body)
        except Exception as error:
            self._figures.failed += 1
            kind = type(error).__name__
            self._figures.errors[kind] = self._figures.errors.get(kind, 0) + 1
            raise
        self._count(self.context.clock.monotonic() - started)
        return result

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the same clean-up for every reason
        """Stop the worker."""
        await self._worker.stop()

    def details(self) -> Mapping[str, Any]:
        """Return units done and failed, the success rate in percent, and average, fastest and slowest seconds."""
        f = self._figures
        tried = f.done + f.failed
        return {
            "done": f.done,
            "failed": f.failed,
            "success_rate": round(100 * f.done / tried, 2) if tried else 100.0,
            "average_s": f.total_s / f.done if f.done else None,
            "fastest_s": f.fastest_s,
            "slowest_s": f.slowest_s,
            "errors": dict(f.errors),
        }

    def _count(self, took_s: float) -> None:
        f = self._figures
        f.done += 1
        f.total_s += took_s
        f.fastest_s = took_s if f.fastest_s is None else min(f.fastest_s, took_s)
        f.slowest_s = took_s if f.slowest_s is None else max(f.slowest_s, took_s)
