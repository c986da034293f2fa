"""`PushSensor`: fed by messages, as from a webhook, and able to tell that nothing comes any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_agents.sensors.sensor import SensorAgent, check_seconds
from dspex_agents.signals.signal import Signal


@dataclass(frozen=True, slots=True)
class PushData:
    """Publish this data as a signal; answered with the bus's PublishReceipt, or with its error: nothing is kept here.

    `type` stands in for the sensor's own. Give an `id` where the sender repeats itself: the bus then knows it again.
    """

    data: Any
    type: str | None = None
    id: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class PushEvent:
    """Publish a CloudEvent in its JSON format, as it is; answered like PushData, with a SignalError if it is none."""

    body: str | bytes


class PushSensor(SensorAgent):
    """Turns what it is sent into signals. With `quiet_after_s`, silence of that length is a signal too.

    That one is `<type>.silent`, published once, and again only after something came in between.
    """

    def __init__(self, bus: str, type_: str, *, quiet_after_s: float | None = None, **options: Any) -> None:
        """`options` are those of SensorAgent. Raises SpecError."""
        super().__init__(bus, **options)
        if quiet_after_s is not None:
            check_seconds(self, "quiet_after_s", quiet_after_s)
        self._type, self._quiet_after_s = type_, quiet_after_s
        self._heard_at: float | None = None
        self._is_silent = False

    async def on_start(self) -> None:
        """Begin to listen."""
        self._heard_at = self.context.clock.now()
        await super().on_start()

    async def on_message(self, body: Any) -> Any:
        """Publish what is pushed."""
        match body:
            case PushData(data, type_, id_, subject):
                signal = self.signal(type_ or self._type, data, subject=subject)
                if id_ is not None:
                    signal = Signal.from_dict({**signal.to_dict(), "id": id_})
                return await self._pass_on(signal)
            case PushEvent(text):
                return await self._pass_on(Signal.from_json(text))
            case _:
                return await super().on_message(body)

    def next_after(self, now: float) -> float | None:
        """Return when the silence may be long enough, or None if nobody asked for that."""
        return None if self._quiet_after_s is None else now + self._quiet_after_s / 4

    async def poll(self) -> Sequence[Signal]:
        """Look whether it has been silent for too long."""
        now = self.context.clock.now()
        if self._heard_at is None or self._quiet_after_s is None or self._is_silent:
            return []
        silent_s = now - self._heard_at
        if silent_s < self._quiet_after_s:
            return []
        self._is_silent = True
        return [self.signal(f"{self._type}.silent", {"silent_s": silent_s})]

    def details(self) -> Mapping[str, Any]:
        """Return the sensor's figures, when it last heard something, and whether it has been silent for too long."""
        return {**super().details(), "heard_at": self._heard_at, "silent": self._is_silent}

    async def _pass_on(self, signal: Signal) -> Any:
        self._heard_at, self._is_silent = self.context.clock.now(), False
        return await self.publish(signal)
