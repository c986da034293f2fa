"""What a coordinator and its runs announce, as signals on a bus."""

from __future__ import annotations

import logging
from typing import Any, Literal

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentSystemError
from dspex_agents.ids import IdSource
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_messages import Publish

_log = logging.getLogger(__name__)
SIGNAL_PREFIX = "dspex.coordination."
Announcement = Literal[
    "workflow_started",
    "workflow_paused",
    "workflow_resumed",
    "workflow_cancelled",
    "workflow_completed",
    "workflow_failed",
    "workflow_limit_exceeded",
    "stalled_workflows_detected",
    "task_distributed",
    "task_recovered",
    "no_suitable_agents",
    "members_registered",
    "dead_members_removed",
]
"""The last part of the signal's type, behind `SIGNAL_PREFIX`."""


class Announcer:
    """Publishes signals of one agent on the bus of that name; without one it says nothing.

    A signal that the bus does not take is a dead letter of the system: whoever announces does not wait for it.
    """

    def __init__(self, context: AgentContext, bus: str | None, ids: IdSource) -> None:
        self._context, self.bus, self._ids = context, bus, ids

    async def announce(self, what: Announcement, **data: Any) -> None:
        """Publish; `data` are JSON values."""
        if self.bus is None:
            return
        name, clock = self._context.name, self._context.clock
        signal = Signal.create(SIGNAL_PREFIX + what, f"/agents/{name}", data, ids=self._ids, clock=clock)
        try:
            await self._context.tell(self.bus, Publish(signal))
        except AgentSystemError as error:
            _log.warning("agent %r could not announce %s on %r: %s", name, what, self.bus, error)
