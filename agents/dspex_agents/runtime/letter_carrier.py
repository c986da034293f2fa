"""Hands the dead letters of a host on to the `DeadLetterAgent` of its system, so that they outlive the host."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dspex_agents.errors import AgentFailedError, MessageError, StoreError, SystemStoppedError
from dspex_agents.messaging.dead_letters import DeadLetter, DeadLetterFilter, DeadLetters
from dspex_agents.services.dead_letter_messages import AddDeadLetters

_log = logging.getLogger(__name__)
_MOST_IN_BATCH = 50
_ANSWER_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
_ANY_S = 3600.0


class LetterCarrier:
    """Asks agent `to` to keep the letters, a batch at a time; a letter leaves `letters` only when it was taken.

    While the agent is away they wait here, within the bound of `letters`, and are offered again. When it is not known
    whether one was taken, it is offered again too: it may be there twice, never not at all. Letters that `to` itself
    did not get, or could not bring to somebody, stay here: they would go round in a circle. So does one that cannot
    travel or is refused. Nothing runs before `start`.
    """

    def __init__(self, letters: DeadLetters, to: str, ask: Callable[..., Awaitable[Any]]) -> None:
        self._letters, self._to, self._ask = letters, to, ask
        self._staying: set[str] = set()
        self._come = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what is there already."""
        self._letters.on_kept = self._come.set
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, within_s: float) -> None:
        """Bring away what still can be, once and for at most so many seconds, and end."""
        self._closing.set()
        self._come.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=within_s)
        self.cancel()

    def cancel(self) -> None:
        """End at once."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            self._come.clear()
            batch = self._next_batch()
            if batch and await self._carry(batch):
                pause_s = _FIRST_PAUSE_S
            elif self._closing.is_set():
                return
            elif batch:
                await _wait(self._closing, pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                await _wait(self._come, _ANY_S)

    def _next_batch(self) -> tuple[DeadLetter, ...]:
        letters = self._letters.entries()
        self._staying.intersection_update(letter.id for letter in letters)
        ours = (e for e in letters if self._to not in (e.recipient, e.sender) and e.id not in self._staying)
        return tuple(letter for letter, _ in zip(ours, range(_MOST_IN_BATCH), strict=False))

    async def _carry(self, batch: Sequence[DeadLetter]) -> bool:
        """Return whether to go on at once: the letters were taken, or it is settled which of them stay here."""
        try:
            await self._ask(self._to, AddDeadLetters(tuple(batch)), timeout_s=_ANSWER_S, retry_safe=True)
        except AgentFailedError as error:
            if error.error_type == StoreError.__name__:  # its database, not these letters
                return False
            if len(batch) > 1:  # one of them is the reason: find out which
                middle = len(batch) // 2
                return await self._carry(batch[:middle]) and await self._carry(batch[middle:])
            _log.warning("a dead letter to %r stays in its host: %s", batch[0].recipient, error)
            self._staying.add(batch[0].id)
        except (MessageError, SystemStoppedError):
            return False
        else:
            self._letters.purge(DeadLetterFilter(ids=frozenset(letter.id for letter in batch)))
        return True


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
