"""What travels between agents: envelopes with a deadline and an idempotency key, and their replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypedDict

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


class Envelope(NamedTuple):
    """A message on its way. A named tuple, because making and packing one must cost almost nothing.

    `epoch` is the incarnation of the agent that the sender knows; another one answers "stale" without looking at the
    body. `priority` is the number of a `Priority`. `deadline_at` is in seconds since the epoch, so that it means the
    same in every process. Two envelopes of one `key` are handled once by one incarnation and share the answer. A
    `control` message never waits in the mailbox. One with `not_before` (seconds since the epoch) waits in the mailbox
    until then. A `told` one is answered as soon as the agent begins with it. `trace` is the sender's (see
    `trace_context`).
    """

    to: str
    body: Any
    id: str
    epoch: int | None = None
    priority: int = 1
    control: bool = False
    deadline_at: float | None = None
    key: str | None = None
    sender: str = ""
    not_before: float | None = None
    told: bool = False
    trace: str | None = None


class Reply(NamedTuple):
    """The answer to the envelope of the same id: a value, an error, or "ask again elsewhere" (`stale`).

    A stale one with an error comes from an agent that ended with the message in hand: it may have been handled.
    """

    id: str
    value: Any = None
    error: MessageError | None = None
    stale: bool = False


BEGUN = Reply("")
"""The answer to a told message when the agent begins with it."""

Answer = Callable[[Envelope, Reply], None]
"""Whom a message is answered to; called once for each message."""


class Parcel(NamedTuple):
    """What a host gives back over a link: the ids of told messages that were begun, and packed replies."""

    begun: list[str]
    replies: list[tuple[Any, ...]]


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
    """Control: end the message of this id or key, waiting or running; its asker gets an error."""

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
