"""What a `DeadLetterAgent` is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.errors import MessageError
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter


@dataclass(frozen=True, slots=True)
class AddDeadLetters:
    """Keep these letters; answered with the ids they are kept under (their own may be anybody's), in their order."""

    letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class GetDeadLetters:
    """Answer with the letters meant, oldest first, at most `limit`, as a tuple of DeadLetter."""

    which: DeadLetterFilter = ALL_LETTERS
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class RedriveDeadLetters:
    """Send the letters meant again, oldest first, at most `limit`; answered with a `Redrive` as soon as they are due.

    Answered with LetterUnreadableError when there are some but none can be sent.
    """

    which: DeadLetterFilter = ALL_LETTERS
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class PurgeDeadLetters:
    """Throw the letters meant away; answered with their number."""

    which: DeadLetterFilter = ALL_LETTERS


@dataclass(frozen=True, slots=True)
class Redrive:
    """How many letters are on their way again, and the ids of those of which only a preview is left."""

    started: int
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LostMessage:
    """What is left of a dead letter's message that was not JSON: the start of its text."""

    preview: str


class LetterUnreadableError(MessageError):
    """Only a preview of the messages is left, so they cannot be sent again. `ids` are those of the letters."""

    executed = True

    def __init__(self, ids: tuple[str, ...]) -> None:
        super().__init__(ids)
        self.ids = ids

    def __str__(self) -> str:
        told = ", ".join(self.ids[:5]) + (" ..." if len(self.ids) > len(self.ids[:5]) else "")
        return (
            f"Of the message of {told} only a preview is left: it was not JSON, and a database keeps nothing else. "
            "Send it anew from where it came, and purge the letter."
        )
