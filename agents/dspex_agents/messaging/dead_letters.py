"""Dead letters: messages that could not be delivered or done, kept for a look, another try, or the bin."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dspex_agents.errors import SpecError
from dspex_agents.ids import IdSource
from dspex_agents.messaging.preview import preview


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that came to nothing. `attempts` counts every try so far; times are seconds since the epoch.

    `sender` and `priority` (the number of a `Priority`) are those of the message, kept for another try.
    """

    id: str
    recipient: str
    message: Any
    reason: str
    attempts: int
    first_failure_at: float
    last_failure_at: float
    sender: str = ""
    priority: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which letters are meant: those that fit everything given; with nothing given, all."""

    ids: frozenset[str] | None = None
    recipient: str | None = None
    reason_contains: str | None = None
    before: float | None = None
    """First failed earlier than this moment."""
    min_attempts: int = 0

    def matches(self, letter: DeadLetter) -> bool:
        """Say whether the letter is meant."""
        return (
            (self.ids is None or letter.id in self.ids)
            and (self.recipient is None or letter.recipient == self.recipient)
            and (self.reason_contains is None or self.reason_contains.casefold() in letter.reason.casefold())
            and (self.before is None or letter.first_failure_at < self.before)
            and letter.attempts >= self.min_attempts
        )


ALL_LETTERS = DeadLetterFilter()


class DeadLetters:
    """At most `size` letters, oldest first. Pure: ids and times are passed in, sending again is the caller's.

    Nothing goes unseen: a letter pushed out by a new one is returned and counted in `dropped`. `on_kept` is called
    after each letter that is kept.
    """

    on_kept: Callable[[], None] | None = None

    def __init__(self, ids: IdSource, size: int = 1000) -> None:
        if size < 1:
            raise SpecError(f"dead letters: size must be at least 1, got {size}.")
        self.size, self.dropped = size, 0
        self._ids = ids
        self._letters: OrderedDict[str, DeadLetter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._letters)

    def add(
        self,
        recipient: str,
        message: Any,
        reason: str,
        now: float,
        *,
        attempts: int = 1,
        sender: str = "",
        priority: int = 1,
    ) -> DeadLetter | None:
        """Keep a message that failed after `attempts` tries. Return the letter that lost its place, if any."""
        id_ = self._ids.new("letter")
        return self._keep(DeadLetter(id_, recipient, message, reason, attempts, now, now, sender, priority))

    def put_back(self, letter: DeadLetter, reason: str, now: float, *, attempts: int = 1) -> DeadLetter | None:
        """Keep a letter again whose redrive failed, under its id and with its history. Return what lost its place."""
        failed = replace(letter, reason=reason, attempts=letter.attempts + attempts, last_failure_at=now)
        return self._keep(failed)

    def entries(self, which: DeadLetterFilter = ALL_LETTERS, *, limit: int | None = None) -> tuple[DeadLetter, ...]:
        """Return the letters meant, oldest first, at most `limit`."""
        found = tuple(letter for letter in self._letters.values() if which.matches(letter))
        return found if limit is None else found[:limit]

    def previews(self, which: DeadLetterFilter = ALL_LETTERS, *, limit: int | None = None) -> tuple[DeadLetter, ...]:
        """Return what `entries` does, with the start of its text in place of each message."""
        return tuple(replace(letter, message=preview(letter.message)) for letter in self.entries(which, limit=limit))

    def redrive(self, which: DeadLetterFilter = ALL_LETTERS, *, limit: int | None = None) -> tuple[DeadLetter, ...]:
        """Take the letters meant out, to be sent again; each comes back by `put_back` if that fails too."""
        taken = self.entries(which, limit=limit)
        for letter in taken:
            del self._letters[letter.id]
        return taken

    def purge(self, which: DeadLetterFilter = ALL_LETTERS) -> int:
        """Throw the letters meant away; return how many there were."""
        return len(self.redrive(which))

    def _keep(self, letter: DeadLetter) -> DeadLetter | None:
        loser = None
        if letter.id not in self._letters and len(self._letters) >= self.size:
            _, loser = self._letters.popitem(last=False)
            self.dropped += 1
        self._letters[letter.id] = letter
        self._letters.move_to_end(letter.id)
        if self.on_kept is not None:
            self.on_kept()
        return loser
