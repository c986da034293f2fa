"""Why a shared variable did not do what it was asked; whoever asked finds them as the `cause` of AgentFailedError.

SharedVariableError         one root
├── StaleVersionError       the value was changed since the asker read it
├── NotLeaderError          the change came from another agent than the leader, or from an incarnation that is past
├── ProposalRefusedError    the members did not agree; says who answered what
└── UnknownVersionError     the history holds no such version
"""

from __future__ import annotations

from dspex_coordination.errors import CoordinationError


class SharedVariableError(CoordinationError):
    """A shared variable that cannot be, or was asked for what it cannot do."""


class StaleVersionError(SharedVariableError):
    """The value is another version than the one expected. Nothing was changed."""

    def __init__(self, expected: int, current: int) -> None:
        super().__init__(expected, current)
        self.expected, self.current = expected, current

    def __str__(self) -> str:
        return f"Version {self.expected} was expected, but {self.current} is current; read it and propose again."


class NotLeaderError(SharedVariableError):
    """Only the leader may change the value, and only its latest incarnation. Nothing was changed."""


class ProposalRefusedError(SharedVariableError):
    """The members did not agree. Nothing was changed."""


class UnknownVersionError(SharedVariableError):
    """The history does not hold that version (any more)."""
