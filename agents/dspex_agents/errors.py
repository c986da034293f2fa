"""Every error of the ground floor.

AgentSystemError                one root
├── SpecError                   a specification with a bad field (named)
├── StoreError                  the database cannot be used (locked, newer, not ours, unreachable)
├── RuntimeUnavailableError     no runtime at the address (no Ray cluster, wrong token)
│   └── ClusterTooSmallError    no node has what a process of the tree must find (named)
├── MessageError                a message that was not answered with a value
│   ├── UnknownAgentError       no agent of that name in the system (near matches named)
│   ├── MailboxFullError        the mailbox is at its bound and its policy rejects          not executed
│   ├── DeadlineExceededError   no answer within the deadline                               unknown outcome
│   ├── OutcomeUnknownError     the agent's process died with the message in flight         unknown outcome
│   ├── AgentStoppedError       the agent stopped before the message was handled            not executed
│   └── AgentFailedError        the agent raised; carries the type and text of its error
└── SystemStoppedError          the system is stopped or gave up (restart intensity reached)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_LISTED = 20
_MOST_COMPARED = 2000


class AgentSystemError(Exception):
    """Root of every error this package raises."""


class SpecError(AgentSystemError):
    """A specification with a bad field; the message names the field, its value and what would be right."""


class StoreError(AgentSystemError):
    """The database cannot be used: locked, newer than this program, not ours, or unreachable."""


class RuntimeUnavailableError(AgentSystemError):
    """No runtime at the address: no Ray cluster, or a wrong token."""


class ClusterTooSmallError(RuntimeUnavailableError):
    """No node has what a process of the tree must find on it, or all together have not."""


class SystemStoppedError(AgentSystemError):
    """The system is stopped, or gave up after too many restarts."""


class MessageError(AgentSystemError):
    """A message that was not answered with a value. `executed` is False only where the agent surely did not see it."""

    executed: bool | None = False


class UnknownAgentError(MessageError):
    """No agent of that name in the system."""

    @classmethod
    def among(cls, name: str, known: Iterable[str]) -> UnknownAgentError:
        """Build the error with near matches from the known names."""
        options = sorted(known)
        near = difflib.get_close_matches(name, options[:_MOST_COMPARED], n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(options[:_MOST_LISTED]) or "none"
        more = f" and {len(options) - _MOST_LISTED} more" if len(options) > _MOST_LISTED else ""
        return cls(f"No agent named {name!r} in this system.{hint} Known: {listed}{more}.")


class MailboxFullError(MessageError):
    """The mailbox is at its bound and its overflow policy rejects."""


class AgentStoppedError(MessageError):
    """The agent stopped before the message was handled."""


class DeadlineExceededError(MessageError):
    """No answer within the deadline; the agent may or may not have handled the message."""

    executed = None


class OutcomeUnknownError(MessageError):
    """The agent's process died with the message in flight; it may or may not have been handled."""

    executed = None


class AgentFailedError(MessageError):
    """The agent raised while handling the message.

    `error_type` and `error_text` are those of its error; `cause` is the error itself where it could travel.
    """

    executed = True

    def __init__(
        self, message: str, error_type: str = "", error_text: str = "", cause: Exception | None = None
    ) -> None:
        super().__init__(message, error_type, error_text, cause)
        self.message, self.error_type, self.error_text, self.cause = message, error_type, error_text, cause

    def __str__(self) -> str:
        return self.message
