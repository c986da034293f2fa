"""Control messages of a task agent: answered at once, however full its mailbox and however slow its work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from dspex_agents.errors import SpecError
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetterFilter

MetricsDetail = Literal["summary", "detailed"]


@dataclass(frozen=True, slots=True)
class GetProgressOf:
    """Control: answer with the `Progress` of one unit of work under way, by the id of its message."""

    message_id: str


@dataclass(frozen=True, slots=True)
class GetMetrics:
    """Control: answer with the agent's figures as JSON values.

    `summary` has those of all kinds together; `detailed` adds each kind, what was not begun, breakers and retries.
    """

    detail: MetricsDetail = "summary"

    def __post_init__(self) -> None:
        if self.detail not in get_args(MetricsDetail):
            raise SpecError(f"GetMetrics.detail must be 'summary' or 'detailed', got {self.detail!r}.")


@dataclass(frozen=True, slots=True)
class CheckPayload:
    """Control: answer with everything wrong with the payload (a tuple of `Problem`) without working on it."""

    payload: Any


@dataclass(frozen=True, slots=True)
class ResetBreakers:
    """Control: close the breaker of this kind, or all, by hand; answers the kinds found."""

    kind: str | None = None


@dataclass(frozen=True, slots=True)
class GetFailedUnits:
    """Control: answer with the failed payloads kept, oldest first (a tuple of `DeadLetter`)."""

    which: DeadLetterFilter = ALL_LETTERS


@dataclass(frozen=True, slots=True)
class PurgeFailedUnits:
    """Control: throw the failed payloads meant away; answers how many."""

    which: DeadLetterFilter = ALL_LETTERS


@dataclass(frozen=True, slots=True)
class RedriveFailedUnits:
    """Control: put the failed payloads meant into the agent's own mailbox again; answers how many.

    One that fails again, or finds no place within `timeout_s` seconds, is kept again with its history.
    """

    which: DeadLetterFilter = ALL_LETTERS
    timeout_s: float = 600.0
