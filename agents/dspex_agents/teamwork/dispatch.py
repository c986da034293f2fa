"""Giving one unit of work to a member, and to another one when that fails."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentFailedError, AgentSystemError, SystemStoppedError, UnknownAgentError
from dspex_agents.messaging.message import Cancel
from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_agents.teamwork.member_pool import Lease, MemberPool, Verdict
from dspex_agents.teamwork.team import WorkSettings

_log = logging.getLogger(__name__)
_CANCEL_TIMEOUT_S = 5.0
_GONE = (UnknownAgentError, SystemStoppedError)  # no agent of that name, or one that will not come back

OnRecovered = Callable[[Work, str, int], Awaitable[None]]
"""Called with a unit, who did it, and in which attempt, when it was not the first."""


@dataclass(frozen=True, slots=True)
class Performed:
    """What became of a unit; `error` is what was raised at last where it was not done."""

    outcome: Outcome
    error: AgentSystemError | None = None


async def _nothing(_work: Work, _member: str, _attempt: int) -> None:
    return


class Dispatch:
    """Asks members for units of work. `name` begins the idempotency key of each attempt."""

    def __init__(
        self,
        name: str,
        context: AgentContext,
        pool: MemberPool,
        settings: WorkSettings,
        on_recovered: OnRecovered = _nothing,
    ) -> None:
        self.pool = pool
        self._name, self._context, self._settings, self._on_recovered = name, context, settings, on_recovered
        self._tries: Counter[str] = Counter()
        self._asked: dict[str, tuple[str, str]] = {}

    async def perform(self, work: Work, lease: Lease) -> Performed:
        """Have the member of the lease do the unit; after a loss to infrastructure another capable one, and so on.

        A member that is gone for good leaves the pool. Only cancellation is raised.
        """
        clock = self._context.clock
        started = clock.monotonic()
        last: AgentSystemError | None = None
        attempts = self._settings.attempts if work.attempts is None else work.attempts
        for attempt in range(1, attempts + 1):
            if last is not None:
                other = self.pool.take(work, clock.monotonic(), avoid=lease.name, room=False)
                if other is None:
                    last = self.pool.shortage(work.needs)
                    break
                lease = other
            try:
                value = await self._ask(work, lease)
            except AgentSystemError as error:
                last = error
                if not _is_infrastructure(error):
                    break
            else:
                if attempt > 1:
                    await self._on_recovered(work, lease.name, attempt)
                return Performed(Outcome(work.id, value, None, lease.name, clock.monotonic() - started))
        took = clock.monotonic() - started
        return Performed(Outcome(work.id, None, failure_of(last), lease.name, took), last)

    def asked(self) -> dict[str, tuple[str, str]]:
        """Return the units that are with a member now: by id, who was asked and the key of the question."""
        return dict(self._asked)

    async def _ask(self, work: Work, lease: Lease) -> object:
        self._tries[work.id] += 1  # never an old key: a member answers that with what came of it the first time
        key = f"{self._name}:{work.id}:{self._tries[work.id]}"
        self._asked[work.id] = (lease.name, key)
        timeout_s = self._settings.timeout_s if work.timeout_s is None else work.timeout_s
        clock = self._context.clock
        try:
            value: object = await self._context.ask(lease.name, work.payload, timeout_s=timeout_s, key=key)
        except AgentSystemError as error:
            self.pool.give_back(lease, _verdict(error), clock.monotonic())
            if isinstance(error, _GONE):
                self.pool.drop(lease.name, for_good=True)
            raise
        except BaseException:
            self.pool.give_back(lease, "unknown", clock.monotonic())
            raise
        finally:
            self._asked.pop(work.id, None)
        self.pool.give_back(lease, "done", clock.monotonic())
        return value


async def cancel_at(context: AgentContext, asked: Iterable[tuple[str, str]]) -> int:
    """Have members stop what they were asked under these keys, where they still can; return how many did."""

    async def cancel(member: str, key: str) -> bool:
        try:
            return bool(await context.ask(member, Cancel(key), control=True, timeout_s=_CANCEL_TIMEOUT_S))
        except AgentSystemError as error:
            _log.info("agent %r could not be told to stop %r: %s", member, key, error)
            return False

    return sum(await asyncio.gather(*(cancel(member, key) for member, key in asked)))


def failure_of(error: AgentSystemError | None) -> Failure:
    """Return the error as a plan is told it."""
    if isinstance(error, AgentFailedError):
        again = _is_infrastructure(error)
        return Failure("infrastructure" if again else "program", error.error_type, error.error_text, retryable=again)
    return Failure("infrastructure", type(error).__name__, str(error), retryable=True)


def _verdict(error: AgentSystemError) -> Verdict:
    if not _is_infrastructure(error):
        return "done"  # the program failed, the member did its part
    return "failed" if getattr(error, "counts_as_failure", True) else "unknown"


def _is_infrastructure(error: AgentSystemError) -> bool:
    """Say whether another member may do better: yes, but for what the program itself raised and did not call so."""
    return not isinstance(error, AgentFailedError) or bool(getattr(error.cause, "retryable", False))
