"""The task agent: does one kind of work, several units at a time, and answers for its figures at any moment."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from dspex_agents.agent import Agent, AgentContext, AgentExit
from dspex_agents.errors import AgentSystemError, MessageError, SpecError
from dspex_agents.ids import CountingIds
from dspex_agents.messaging.dead_letters import DeadLetter, DeadLetters
from dspex_agents.messaging.message import Pause
from dspex_agents.roles.payload_check import InvalidPayloadError, problems_of, validation_of
from dspex_agents.roles.progress import ProgressBoard, Unit
from dspex_agents.roles.resilience import Guard, Resilience, Sleep
from dspex_agents.roles.task_figures import TaskFigures
from dspex_agents.roles.task_messages import (
    CheckPayload,
    GetFailedUnits,
    GetMetrics,
    GetProgressOf,
    PurgeFailedUnits,
    RedriveFailedUnits,
    ResetBreakers,
)
from dspex_agents.services.breaker import BreakerOpenError

_log = logging.getLogger(__name__)
_PAUSE_TIMEOUT_S = 5.0
_AS_IT_COMES = Resilience()


class Worker(Protocol):
    """What a task agent is given to do. Runs on the host's event loop and must not block it.

    A worker may also have `validate(payload)`, called before each unit: see `payload_check.validation_of`. Inside
    `perform` it may tell how far it is with `report_progress(share, note)`.
    """

    async def start(self, context: AgentContext) -> None:
        """Prepare; called once before the first unit. If it raises, the agent's start has failed."""
        ...

    async def perform(self, payload: Any) -> Any:
        """Do one unit and return its result. Several may run at once, up to the agent's concurrency.

        With retries switched on it is called again with the same payload after an error that is worth it.
        """
        ...

    async def stop(self) -> None:
        """Clean up; called once, last."""
        ...


@dataclass(frozen=True, slots=True)
class _Redriven:
    """A dead letter on its way through the mailbox again."""

    letter: DeadLetter


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
        resilience: Resilience = _AS_IT_COMES,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`worker(**kwargs)` builds the worker; both pickle. `sleep` is what waits between retries."""
        self._worker = worker(**(kwargs or {}))
        self._validate = validation_of(self._worker)
        self.concurrency, self.mailbox_size = concurrency, mailbox_size
        self._resilience, self._sleep = resilience, sleep
        self._figures, self._board = TaskFigures(), ProgressBoard()
        self._failures_in_a_row = 0
        self._letters = DeadLetters(CountingIds(), resilience.dead_letters) if resilience.dead_letters else None
        self._redriving: set[asyncio.Task[None]] = set()

    async def on_start(self) -> None:
        """Start the worker."""
        await self._worker.start(self.context)

    async def on_message(self, body: Any) -> Any:
        """Perform the body, as the settings say about failures; what the worker raises is counted and answered.

        Raises InvalidPayloadError or BreakerOpenError, neither of which is a failure, when the work was not begun.
        """
        payload = body.letter.message if isinstance(body, _Redriven) else body
        kind = kind_of(payload)
        clock = self.context.clock
        started = clock.monotonic()
        with self._board.unit(kind, clock) as unit:
            try:
                await self._check(payload)
                result = await self._guard.run(kind, lambda number: self._attempt(unit, number, payload))
            except AgentExit:
                raise
            except Exception as error:
                await self._count_error(body, unit, error)
                raise
        self._figures.count_done(kind, clock.monotonic() - started)
        self._failures_in_a_row = 0
        return result

    async def on_control(self, body: Any) -> Any:
        """Answer progress, metrics, what is wrong with a payload; reset breakers; see to the dead letters."""
        match body:
            case GetProgressOf(message_id):
                return self._board.of(message_id)
            case GetMetrics("summary"):
                return self._figures.summary()
            case GetMetrics():
                return {**self._figures.detailed(), **self._guard.status(), **self._letter_counts()}
            case CheckPayload(payload):
                return await problems_of(self._validate, payload)
            case ResetBreakers(kind):
                return self._guard.breakers.reset(kind) if self._guard.breakers else ()
            case GetFailedUnits() | PurgeFailedUnits() | RedriveFailedUnits():
                return self._on_letters(body)
            case _:
                return await super().on_control(body)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the same clean-up for every reason
        """Stop the worker."""
        for task in self._redriving:
            task.cancel()
        await self._worker.stop()

    def details(self) -> Mapping[str, Any]:
        """Return units done and failed, the success rate in percent, and average, fastest and slowest seconds.

        What is switched on or under way is there too: breakers, retries, failures in a row, dead letters, and the
        progress of each unit.
        """
        shown = {**self._figures.summary(), **self._guard.status(), **self._letter_counts()}
        shown |= {name: n for name in ("rejected", "refused") if (n := getattr(self._figures, name))}
        if self._resilience.auto_pause_after is not None:
            shown["failures_in_a_row"] = self._failures_in_a_row
        if running := self._board.all():
            shown["running"] = [
                {"id": p.id, "kind": p.kind, "share": p.share, "note": p.note, "attempt": p.attempt} for p in running
            ]
        return shown

    @cached_property
    def _guard(self) -> Guard:
        """The guard, made when the host has given the context; agents of one seed do not jitter in step."""
        context = self.context
        rng = random.Random(f"{self._resilience.seed}:{context.name}:{context.epoch}")  # noqa: S311 - jitter, no secret
        return Guard(self._resilience, context.clock, rng, self._sleep)

    # one unit -----------------------------------------------------------------------------------------------------
    async def _check(self, payload: Any) -> None:
        if problems := await problems_of(self._validate, payload):
            raise InvalidPayloadError(problems)

    async def _attempt(self, unit: Unit, number: int, payload: Any) -> Any:
        unit.begin_attempt(number)
        return await self._worker.perform(payload)

    async def _count_error(self, body: Any, unit: Unit, error: Exception) -> None:
        if unit.attempt == 0 and isinstance(error, InvalidPayloadError):
            self._figures.rejected += 1
        elif unit.attempt == 0 and isinstance(error, BreakerOpenError):
            self._figures.refused += 1
        else:
            self._figures.count_failed(unit.kind, error)
            self._keep_letter(body, unit, error)
            await self._count_failure_in_a_row(error)

    async def _count_failure_in_a_row(self, error: Exception) -> None:
        self._failures_in_a_row += 1
        limit = self._resilience.auto_pause_after
        if limit is None or self._failures_in_a_row < limit:
            return
        reason = f"{self._failures_in_a_row} failures in a row, the last one {type(error).__name__}: {error}"
        try:
            await self.context.ask(self.context.name, Pause(reason), control=True, timeout_s=_PAUSE_TIMEOUT_S)
        except AgentSystemError:
            _log.warning("agent %r could not pause itself after %s", self.context.name, reason, exc_info=True)
        else:
            self._failures_in_a_row = 0  # after a resume it takes as many again

    # dead letters -------------------------------------------------------------------------------------------------
    def _keep_letter(self, body: Any, unit: Unit, error: Exception) -> None:
        if self._letters is not None and not isinstance(body, _Redriven):  # whoever redrives puts its letter back
            now = self.context.clock.now()
            self._letters.add(self.context.name, body, _reason(error), now, attempts=unit.attempt)

    def _on_letters(self, order: GetFailedUnits | PurgeFailedUnits | RedriveFailedUnits) -> Any:
        match order:
            case GetFailedUnits(which):
                return self._kept_letters().entries(which)
            case PurgeFailedUnits(which):
                return self._kept_letters().purge(which)
            case RedriveFailedUnits():
                return self._redrive(order)

    def _kept_letters(self) -> DeadLetters:
        if self._letters is None:
            raise SpecError(f"Agent {self.context.name!r} keeps no dead letters; give it Resilience(dead_letters=...).")
        return self._letters

    def _letter_counts(self) -> dict[str, Any]:
        kept = self._letters
        return {} if kept is None else {"dead_letters": {"kept": len(kept), "dropped": kept.dropped}}

    def _redrive(self, order: RedriveFailedUnits) -> int:
        taken = self._kept_letters().redrive(order.which)
        for letter in taken:
            task = asyncio.get_running_loop().create_task(self._send_again(letter, order.timeout_s))
            self._redriving.add(task)
            task.add_done_callback(self._redriving.discard)
        return len(taken)

    async def _send_again(self, letter: DeadLetter, timeout_s: float) -> None:
        try:
            await self.context.ask(self.context.name, _Redriven(letter), timeout_s=timeout_s)
        except AgentSystemError as error:
            tried = not (isinstance(error, MessageError) and error.executed is False)
            self._kept_letters().put_back(letter, _reason(error), self.context.clock.now(), attempts=int(tried))


def kind_of(payload: Any) -> str:
    """Return the payload's `kind` where that is a text, otherwise the name of its type."""
    kind = getattr(payload, "kind", None)
    return str(kind) if isinstance(kind, str) else type(payload).__name__


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None)  # an agent's report of an error: its own type and text say more
    told = cause if isinstance(cause, Exception) else error
    return f"{type(told).__name__}: {told}"
