"""Sending under supervision: what follows when a message fails, to one agent or to many."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentSystemError, MessageError, SpecError, SystemStoppedError, UnknownAgentError
from dspex_agents.messaging.dead_letters import DeadLetter
from dspex_agents.messaging.message import GetStatus, Priority
from dspex_agents.services.dead_letter_messages import AddDeadLetters
from dspex_agents.services.retry_policy import RetryPolicy

OnError = Literal["raise", "log", "dead_letter", "ignore"]
Broadcast = Literal["all_or_nothing", "best_effort", "at_least_one"]
Sleep: TypeAlias = Callable[[float], Awaitable[None]]

_log = logging.getLogger(__name__)
_MOST_AT_ONCE = 64
_MOST_TOLD = 5
_NOT_AT_ALL = RetryPolicy(max_retries=0)
_FOR_GOOD = (UnknownAgentError, SystemStoppedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPolicy:
    """How a message is sent and what is done when that fails for good.

    Each try waits `timeout_s` for the answer. It is tried again as `retry` says (not at all by default) where the
    agent surely did not see the message, with `retry_safe` also where it may have. Then `on_error`: raise the error,
    log it, hand the message to the agent `dead_letters` (a DeadLetterAgent), or ignore it.
    """

    on_error: OnError = "raise"
    timeout_s: float = 5.0
    retry: RetryPolicy = _NOT_AT_ALL
    retry_safe: bool = False
    priority: Priority = Priority.NORMAL
    dead_letters: str = "dead-letters"

    def __post_init__(self) -> None:
        if self.on_error not in get_args(OnError):
            options = ", ".join(map(repr, get_args(OnError)))
            raise SpecError(f"send policy: on_error must be one of {options}, got {self.on_error!r}.")
        if not self.timeout_s > 0:
            raise SpecError(f"send policy: timeout_s must be a positive number of seconds, got {self.timeout_s}.")


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What came of one message: the answer in `value`, or the last `error`, after how many `attempts`."""

    to: str
    value: Any = None
    error: AgentSystemError | None = None
    attempts: int = 1


class BroadcastError(MessageError):
    """A broadcast that did not come up to its mode. `outcomes` tells of each agent; empty when nothing was sent."""

    executed = None

    def __init__(self, message: str, outcomes: tuple[SendOutcome, ...] = ()) -> None:
        super().__init__(message, outcomes)
        self.message, self.outcomes = message, outcomes

    def __str__(self) -> str:
        return self.message


class Sender:
    """Sends for one agent, under a policy that each call may replace."""

    def __init__(
        self,
        context: AgentContext,
        policy: SendPolicy | None = None,
        *,
        rng: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`rng` draws the jitter of the waits between tries, `sleep` waits."""
        self._context, self._policy, self._sleep = context, policy or SendPolicy(), sleep
        self._rng = rng or random.Random(f"{context.name}:{context.epoch}")  # noqa: S311 - jitter of delays, no secret

    async def send(self, to: str, body: Any, policy: SendPolicy | None = None) -> SendOutcome:
        """Send, and return the answer or the error. Raises the error when the policy says so."""
        policy = policy or self._policy
        outcome = await self._try(to, body, policy)
        if outcome.error is not None:
            await self._settle(body, outcome, outcome.error, policy)
        return outcome

    async def broadcast(
        self, to: Sequence[str], body: Any, mode: Broadcast, policy: SendPolicy | None = None
    ) -> tuple[SendOutcome, ...]:
        """Send the same to many agents, and return what came of each, in their order.

        `best_effort` raises nothing; `at_least_one` raises BroadcastError when none took it; `all_or_nothing` when not
        all did: it first looks whether every agent can be reached, and otherwise sends nothing. What was taken cannot
        be taken back; the error tells who took it. `on_error` "log" and "dead_letter" are done for every agent that
        failed. Raises SpecError for an unknown mode and for nobody to send to.
        """
        policy = policy or self._policy
        if mode not in get_args(Broadcast):
            raise SpecError(f"broadcast: mode must be one of {', '.join(get_args(Broadcast))}, got {mode!r}.")
        if not to or isinstance(to, str):
            raise SpecError(f"broadcast: a list of at least one agent is needed, got {to!r}.")
        if mode == "all_or_nothing":
            await self._check_all_there(to, policy)
        outcomes = await _some_at_once([partial(self._try, name, body, policy) for name in to])
        for outcome in outcomes:
            if outcome.error is not None and policy.on_error in ("log", "dead_letter"):
                await self._settle(body, outcome, outcome.error, policy)
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        if failed and (mode == "all_or_nothing" or (mode == "at_least_one" and len(failed) == len(outcomes))):
            taken = len(outcomes) - len(failed)
            raise BroadcastError(f"{mode}: {taken} of {len(outcomes)} took the message. {_told(failed)}", outcomes)
        return outcomes

    # one message --------------------------------------------------------------------------------------------------
    async def _try(self, to: str, body: Any, policy: SendPolicy) -> SendOutcome:
        clock = self._context.clock
        began, attempts = clock.monotonic(), 0
        while True:
            attempts += 1
            try:
                value = await self._context.ask(
                    to, body, timeout_s=policy.timeout_s, priority=policy.priority, retry_safe=policy.retry_safe
                )
            except (MessageError, SystemStoppedError) as error:
                delay_s = self._delay_s(error, attempts, clock.monotonic() - began, policy)
                if delay_s is None:
                    return SendOutcome(to, error=error, attempts=attempts)
            else:
                return SendOutcome(to, value, attempts=attempts)
            await self._sleep(delay_s)

    def _delay_s(self, error: AgentSystemError, retry: int, elapsed_s: float, policy: SendPolicy) -> float | None:
        executed = getattr(error, "executed", None)
        if isinstance(error, _FOR_GOOD) or executed is True or (executed is None and not policy.retry_safe):
            return None
        at_least_s = float(getattr(error, "retry_after_s", None) or 0.0)
        return policy.retry.next_delay_s(retry, elapsed_s, self._rng, at_least_s=at_least_s)

    async def _settle(self, body: Any, outcome: SendOutcome, error: AgentSystemError, policy: SendPolicy) -> None:
        match policy.on_error:
            case "raise":
                raise error
            case "log":
                _log.warning("%r could not send to %r: %s", self._context.name, outcome.to, _text(error))
            case "dead_letter":
                await self._bury(body, outcome, error, policy)
            case "ignore":
                pass

    async def _bury(self, body: Any, outcome: SendOutcome, error: AgentSystemError, policy: SendPolicy) -> None:
        now = self._context.clock.now()
        origin = (self._context.name, int(policy.priority))
        letter = DeadLetter("", outcome.to, body, _text(error), outcome.attempts, now, now, *origin)
        try:
            await self._context.ask(policy.dead_letters, AddDeadLetters((letter,)), timeout_s=policy.timeout_s)
        except (MessageError, SystemStoppedError) as failure:
            error.add_note(f"It could not be made a dead letter of agent {policy.dead_letters!r}: {_text(failure)}")
            raise error from failure

    # many ---------------------------------------------------------------------------------------------------------
    async def _check_all_there(self, to: Sequence[str], policy: SendPolicy) -> None:
        missing = [
            o for o in await _some_at_once([partial(self._look, name, policy) for name in to]) if o.error is not None
        ]
        if missing:
            raise BroadcastError(f"all_or_nothing: nothing was sent, not all can be reached. {_told(missing)}")

    async def _look(self, name: str, policy: SendPolicy) -> SendOutcome:
        try:
            return SendOutcome(
                name, await self._context.ask(name, GetStatus(), control=True, timeout_s=policy.timeout_s)
            )
        except (MessageError, SystemStoppedError) as error:
            return SendOutcome(name, error=error)


async def _some_at_once(work: Sequence[Callable[[], Awaitable[SendOutcome]]]) -> tuple[SendOutcome, ...]:
    room = asyncio.Semaphore(_MOST_AT_ONCE)

    async def one(piece: Callable[[], Awaitable[SendOutcome]]) -> SendOutcome:
        async with room:
            return await piece()

    return tuple(await asyncio.gather(*map(one, work)))


def _told(failed: Sequence[SendOutcome]) -> str:
    first = "; ".join(f"{o.to!r}: {_text(o.error)}" for o in failed[:_MOST_TOLD] if o.error is not None)
    more = len(failed) - _MOST_TOLD
    return f"Failed: {first}" + (f"; and {more} more." if more > 0 else "")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
