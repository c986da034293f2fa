"""`DeadLetterAgent`: keeps the messages that came to nothing, and sends them again by hand or by itself."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from dspex_agents.database import Database
from dspex_agents.errors import MessageError, SpecError, StoreError, SystemStoppedError
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.messaging.dead_letters import DeadLetter, DeadLetterFilter
from dspex_agents.messaging.message import Priority
from dspex_agents.services.dead_letter_messages import (
    AddDeadLetters,
    GetDeadLetters,
    LetterUnreadableError,
    PurgeDeadLetters,
    Redrive,
    RedriveDeadLetters,
)
from dspex_agents.services.letter_book import KeptLetter, LetterBook
from dspex_agents.services.letter_store import LetterStore
from dspex_agents.services.retry_policy import RetryPolicy
from dspex_agents.services.service_agent import ServiceAgent
from dspex_agents.services.store_thread import StoreThread

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_MOST_IN_FLIGHT = 16
_IDLE_S = 3600.0

FIVE_TIMES_EVERY_FIVE_MINUTES: Final = RetryPolicy(
    shape="fixed", initial_s=300.0, max_delay_s=360.0, total_s=math.inf, max_retries=5
)


class DeadLetterAgent(ServiceAgent):
    """Keeps at most `size` letters, oldest first; what it drops for newer ones is counted.

    With a database the letters outlive its process. Only JSON goes there: a message that is anything else is kept as
    pickled bytes in memory, and in the database as a preview of its text, for pickles at rest would run whatever
    somebody puts into the database. After a restart such a letter can be looked at but not sent again
    (LetterUnreadableError). The same goes at once for messages over 1 MB and those that cannot be pickled.

    A letter that is sent again stays until its recipient has answered: it may be handled twice, never not at all.
    """

    capabilities = frozenset({"service", "dead-letters"})

    def __init__(
        self,
        database: Database | None = None,
        *,
        size: int = 10_000,
        redrive: RetryPolicy | None = None,
        timeout_s: float = 30.0,
        seed: int = 0,
        ids: IdSource | None = None,
    ) -> None:
        """Keep `size` letters. `redrive` (`FIVE_TIMES_EVERY_FIVE_MINUTES`, say) sends them again by itself.

        Each time `timeout_s` is waited for the answer. `seed` is that of the jitter. Raises SpecError.
        """
        super().__init__()
        if not timeout_s > 0:
            raise SpecError(f"dead letters: timeout_s must be a positive number of seconds, got {timeout_s}.")
        self.concurrency = 16
        self._database, self._timeout_s, self._ids = database, timeout_s, ids or RandomIds()
        self._book = LetterBook(size, redrive, random.Random(seed))  # noqa: S311 - jitter of delays, no secret
        self._room = asyncio.Semaphore(_MOST_IN_FLIGHT)
        self._thread: StoreThread | None = None
        self._added = self._redriven = self._failed = self._purged = 0

    async def on_start(self) -> None:
        """Load what an earlier life left. Raises StoreError."""
        if self._database is not None:
            database, name = self._database, self.context.name
            self._thread = StoreThread(f"dead-letters-{name}", database)
            self._store = await self._thread.call(lambda: LetterStore(database, name))
            dropped = self._book.restore(await self._thread.call(self._store.load))
            await self._in_store(lambda: self._store.delete([kept.letter.id for kept in dropped]))
        await super().on_start()

    def release(self) -> None:
        """Stop the timer; what is under way stays a dead letter."""
        super().release()
        if self._thread is not None:
            self._thread.close()

    async def serve(self, body: Any) -> Any:
        """Keep, tell, send again, throw away."""
        match body:
            case AddDeadLetters(letters):
                return await self._add(letters)
            case GetDeadLetters(which, limit):
                _check_limit(limit)
                return tuple(kept.shown() for kept in self._book.entries(which, limit))
            case RedriveDeadLetters(which, limit):
                _check_limit(limit)
                return self._redrive(which, limit)
            case PurgeDeadLetters(which):
                return await self._purge([kept.letter.id for kept in self._book.entries(which)])
            case _:
                return await super().serve(body)

    async def tick(self) -> float:
        """Send again what is due."""
        now = self.context.clock.now()
        for kept in self._book.due(now):
            self.spawn(self._send(kept))
        next_at = self._book.next_at()
        return _IDLE_S if next_at is None else next_at - now

    def details(self) -> Mapping[str, Any]:
        """Return how many letters are kept, under way, unreadable, given up, and what was done with others."""
        done = {"added": self._added, "redriven": self._redriven, "failed": self._failed, "purged": self._purged}
        return {**self._book.counts(), **done}

    async def _add(self, letters: Sequence[DeadLetter]) -> tuple[str, ...]:
        _check_letters(letters)
        now = self.context.clock.now()
        added = [self._book.add(letter, self._ids.new("letter"), now) for letter in letters]
        dropped = [loser.letter.id for _, loser in added if loser is not None]
        if dropped:
            _log.warning("%r has dropped %d dead letters for newer ones", self.context.name, len(dropped))
        self._added += len(added)
        self.wake()
        await self._in_store(lambda: self._store.add([kept for kept, _ in added], dropped))
        return tuple(kept.letter.id for kept, _ in added)

    def _redrive(self, which: DeadLetterFilter, limit: int) -> Redrive:
        sent, unreadable = self._book.take(which, limit)
        if unreadable and not sent:
            raise LetterUnreadableError(unreadable)
        for kept in sent:
            self.spawn(self._send(kept))
        return Redrive(len(sent), unreadable)

    async def _purge(self, ids: Sequence[str]) -> int:
        count = self._book.remove(ids)
        self._purged += count
        await self._in_store(lambda: self._store.delete(ids))
        return count

    async def _send(self, kept: KeptLetter) -> None:
        letter = kept.letter
        key = f"{letter.id}/{kept.redrives + 1}"  # a new one each time: an old failure is not to be given again
        try:
            async with self._room:
                priority = Priority(letter.priority)
                await self.context.ask(
                    letter.recipient, kept.message(), timeout_s=self._timeout_s, key=key, priority=priority
                )
        except (MessageError, SystemStoppedError) as error:
            await self._failed_again(letter.id, error)
        else:
            self._redriven += 1
            self._book.remove([letter.id])
            await self._in_store(lambda: self._store.delete([letter.id]))

    async def _failed_again(self, id_: str, error: MessageError | SystemStoppedError) -> None:
        self._failed += 1
        tried = getattr(error, "executed", False) is not False
        reason = f"{type(error).__name__}: {error}"
        kept = self._book.failed(id_, reason, self.context.clock.now(), tried=tried)
        self.wake()
        if kept is not None:
            await self._in_store(lambda: self._store.update(kept))

    async def _in_store(self, work: Callable[[], _T]) -> _T | None:
        """Do it in the database, if there is one. If that fails the agent ends: book and database must not part."""
        if self._thread is None:
            return None
        try:
            return await self._thread.call(work)
        except StoreError as error:
            self.fail(error)
            raise


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise SpecError(f"dead letters: limit must be at least 1, got {limit}.")


def _check_letters(letters: Sequence[object]) -> None:
    for letter in letters:
        if not isinstance(letter, DeadLetter):
            raise SpecError(f"AddDeadLetters: letters must be DeadLetter, got {letter!r}.")
        if letter.priority not in set(Priority):
            raise SpecError(f"AddDeadLetters: priority must be that of a message, 0 to 2, got {letter.priority!r}.")
