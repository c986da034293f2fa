"""`AgentTelemetry`: what one agent tells of itself, within its process and, where it has a bus, to the whole system."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from dspex_agents.agent import AgentContext
from dspex_agents.ids import IdSource
from dspex_agents.monitoring.signal_outbox import SignalOutbox
from dspex_agents.services.telemetry import Telemetry, TelemetryEvent

_LAST_EVENTS_S = 2.0
_LOOK_S = 0.01


class AgentTelemetry:
    """Emits each event to `telemetry`, and as a CloudEvent of the same name to the agent `bus` if it is not empty."""

    def __init__(
        self,
        context: AgentContext,
        agent_type: str,
        telemetry: Telemetry,
        *,
        bus: str = "",
        ids: IdSource | None = None,
    ) -> None:
        self._telemetry = telemetry
        self._who = {"agent": context.name, "agent_type": agent_type, "epoch": context.epoch}
        self._put = 0
        self._outbox = SignalOutbox(context, bus, ids=ids) if bus else None
        if self._outbox is not None:
            self._outbox.open()

    def emit(self, name: str, measurements: Mapping[str, float], **metadata: Any) -> None:
        """Tell one event. `metadata` must be JSON values."""
        event = TelemetryEvent(name, measurements, {**self._who, **metadata})
        self._telemetry.emit(event)
        if self._outbox is not None:
            self._put += 1
            self._outbox.put(name, {"measurements": dict(measurements), "metadata": dict(event.metadata)})

    def details(self) -> Mapping[str, Any]:
        """Return how publishing goes, as JSON values; nothing without a bus."""
        box = self._outbox
        if box is None:
            return {}
        figures = {"published": box.published, "waiting": box.waiting, "failed": box.failed, "given_up": box.given_up}
        return {"events": {**figures, "last_error": box.last_error}}

    async def close(self) -> None:
        """Publish what still waits, for at most 2 s."""
        if self._outbox is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS_S):
                while self._outbox.published + self._outbox.failed + self._outbox.given_up < self._put:  # noqa: ASYNC110 - the outbox tells of nothing
                    await asyncio.sleep(_LOOK_S)
        self._outbox.close()
