"""Back-pressure: how full a mailbox is, as a level that does not flutter, and as the health its agent shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from dspex_agents.agent import AgentContext, AgentStatus
from dspex_agents.errors import SpecError
from dspex_agents.messaging.message import GetStatus
from dspex_agents.supervision.registry import Health

Level = Literal["normal", "warn", "full"]
_HEALTH: Final[dict[Level, Health]] = {"normal": "healthy", "warn": "degraded", "full": "unhealthy"}
_STATUS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backpressure:
    """A level with its marks, as shares of the mailbox's size. Pure: `observed` gives the next one.

    The level rises as soon as the fill reaches `warn_at` or `full_at`, and falls when it is more than `slack` below
    the mark: a mailbox that stands at a mark does not make it flutter.
    """

    level: Level = "normal"
    warn_at: float = 0.5
    full_at: float = 1.0
    slack: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.warn_at < self.full_at <= 1:
            marks = f"got {self.warn_at} and {self.full_at}"
            raise SpecError(f"backpressure: it must hold that 0 < warn_at < full_at <= 1, {marks}.")
        if not 0 <= self.slack < self.warn_at:
            raise SpecError(f"backpressure.slack must be in [0, warn_at), got {self.slack}.")

    @property
    def health(self) -> Health:
        """The health that an agent under this pressure should show."""
        return _HEALTH[self.level]

    def observed(self, waiting: int, size: int) -> Backpressure:
        """Return the pressure when `waiting` messages are in a mailbox for `size`."""
        fill = waiting / size
        full_at = self.full_at - (self.slack if self.level == "full" else 0.0)
        warn_at = self.warn_at - (self.slack if self.level != "normal" else 0.0)
        level: Level = "full" if fill >= full_at else "warn" if fill >= warn_at else "normal"
        return replace(self, level=level)


async def report_pressure(context: AgentContext, pressure: Backpressure) -> Backpressure:
    """Look at the agent's own mailbox; when the level has changed, make it the health of its registration.

    Return the new pressure, to be passed in the next time. Call it from beside the messages (a timer): a message
    would stand in the queue that it is to look at. Raises AgentSystemError when the agent cannot be asked or
    registered; then keep the old pressure.
    """
    status: AgentStatus = await context.ask(context.name, GetStatus(), control=True, timeout_s=_STATUS_TIMEOUT_S)
    now = pressure.observed(status.mailbox, status.mailbox_size)
    if now.level != pressure.level:
        await context.update(health=now.health, metadata={"pressure": now.level})
    return now
