"""What travels between agents: envelopes with a deadline and an idempotency key, and their replies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypedDict

from dspex_agents.errors import MessageError


class Priority(IntEnum):
    """Lower comes first; order within a priority is that of arrival."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class AskOptions(TypedDict, total=False):
    """How a question is asked. Times are seconds.

    The answer is awaited for `timeout_s` (30). A `control` message passes all others and never waits in the mailbox.
    Messages of one `key` are handled once by one incarnation and share the answer. `retry_safe` says that the agent
    may handle it twice: then it is sent again when a process dies with it in flight. It waits `delay_s` first.
    """

    timeout_s: float
    priority: Priority
    control: bool
    key: str | None
    retry_safe: bool
    delay_s: float


class TellOptions(TypedDict, total=False):
    """How a message without an answer is sent. Not handled within `timeout_s` seconds, it is a dead letter."""

    priority: Priority
    delay_s: float
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way.

    `epoch` is the incarnation of the agent that the sender knows; another one answers "stale" without looking at the
    body. `deadline_at` is in seconds since the epoch, so that it means the same in every process. Two envelopes of one
    `key` are handled once by one incarnation and share the answer. A `control` message never waits in the mailbox.
    One with `not_before` (seconds since the epoch) waits in the mailbox until then.
    """

    to: str
    body: Any
    id: str
    epoch: int | None = None
    priority: Priority = Priority.NORMAL
    control: bool = False
    deadline_at: float | None = None
    key: str | None = None
    sender: str = ""
    not_before: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the envelope of the same id: a value, an error, or "ask again elsewhere" (`stale`)."""

    id: str
    value: Any = None
    error: MessageError | None = None
    stale: bool = False


def pack_envelope(envelope: Envelope) -> tuple[Any, ...]:
    """Return the fields as a plain tuple: pickling one costs a fifth of pickling the dataclass."""
    e = envelope
    return (e.to, e.body, e.id, e.epoch, int(e.priority), e.control, e.deadline_at, e.key, e.sender)


def unpack_envelope(fields: tuple[Any, ...]) -> Envelope:
    """Rebuild the envelope of `pack_envelope`."""
    to, body, id_, epoch, priority, control, deadline_at, key, sender = fields
    return Envelope(to, body, id_, epoch, Priority(priority), control, deadline_at, key, sender)


@dataclass(frozen=True, slots=True)
class Pause:
    """Control: take no new work; what runs goes on, what waits keeps its place."""

    reason: str = "paused by hand"


@dataclass(frozen=True, slots=True)
class Resume:
    """Control: take work again."""


@dataclass(frozen=True, slots=True)
class GetStatus:
    """Control: answer with an `AgentStatus`, however full the mailbox and however slow the work."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Control: end the message of this id, waiting or running; its asker gets an error."""

    message_id: str


@dataclass(frozen=True, slots=True)
class GetMailbox:
    """Control: answer with the messages that wait, next first, at most `limit`, as a tuple of `WaitingMessage`."""

    limit: int = 100


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """One message that waits: its sender, and the start of its body's text. Times are seconds since the epoch."""

    id: str
    sender: str
    priority: str
    preview: str
    deadline_at: float | None
    not_before: float | None
