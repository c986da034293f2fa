"""The errors that an agent's cell answers with, in words."""

from __future__ import annotations

import pickle

from dspex_agents.errors import (
    AgentFailedError,
    AgentStoppedError,
    DeadlineExceededError,
    MailboxFullError,
    MessageError,
    OutcomeUnknownError,
)
from dspex_agents.messaging.mailbox import Mailbox


def mailbox_full(name: str, mailbox: Mailbox) -> MailboxFullError:
    """Return the error of a message that found no room, or lost its place."""
    size = mailbox.size
    more = f", and {size} more for room" if mailbox.overflow == "block" else ""
    kept = " The message is kept as a dead letter." if mailbox.overflow == "dead_letter" else ""
    return MailboxFullError(f"The mailbox of agent {name!r} is full ({size} messages wait{more}).{kept}")


def not_come_to(name: str, waiting: int) -> DeadlineExceededError:
    """Return the error of a message whose deadline passed while it waited."""
    return DeadlineExceededError(f"Agent {name!r} did not come to it in time ({waiting} messages wait).")


def not_finished(name: str) -> DeadlineExceededError:
    """Return the error of a message whose deadline passed while it was in hand."""
    return DeadlineExceededError(f"Agent {name!r} did not finish in time.")


def not_handled(name: str, reason: str | None) -> AgentStoppedError:
    """Return the error of a message that waited when the agent ended."""
    return AgentStoppedError(f"Agent {name!r} stopped ({reason}) before handling it.")


def ended(name: str, reason: str) -> AgentStoppedError:
    """Return the error of a message over which the agent ended itself."""
    return AgentStoppedError(f"Agent {name!r} ended: {reason}.")


def cancelled(name: str) -> AgentStoppedError:
    """Return the error of a message that was cancelled."""
    return AgentStoppedError(f"The message to {name!r} was cancelled.")


def perhaps_handled(name: str, reason: str | None) -> OutcomeUnknownError:
    """Return the error of a message in hand when the agent was ended at once."""
    return OutcomeUnknownError(f"Agent {name!r} ended ({reason}) over the message; it may have been handled.")


def failure(name: str, error: Exception) -> MessageError:
    """Return the error of a message over which the agent raised."""
    if isinstance(error, MessageError):
        return error
    kind, text = type(error).__name__, str(error)
    return AgentFailedError(f"Agent {name!r} failed: {kind}: {text}", kind, text, travelling_or_none(error))


def travelling(error: Exception) -> Exception:
    """Return the error if it can travel to another process, otherwise one that tells its type and text."""
    if isinstance(copy := travelling_or_none(error), Exception):
        return copy
    kind = type(error).__name__
    return AgentFailedError(f"{kind}: {error}", kind, str(error))


def travelling_or_none(error: Exception) -> Exception | None:
    """Return the error as the other process would get it, or None when it cannot travel."""
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes made on this very line
    except Exception:  # noqa: BLE001 - an error class may break pickling in any way; its text travels in any case
        return None
    return copy if isinstance(copy, Exception) else None
