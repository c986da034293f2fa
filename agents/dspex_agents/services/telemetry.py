"""Telemetry within a process: agents tell what they do, and whoever attached to it by pattern is called (Erlang's)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from dspex_agents.errors import SpecError
from dspex_agents.signals.signal_router import SignalRoute, SignalRouter

_log = logging.getLogger(__name__)
_MOST_LISTENERS = 1000


@dataclass(frozen=True, slots=True)
class TelemetryEvent:
    """One thing that happened. `measurements` are numbers (durations in seconds), `metadata` says to whom."""

    name: str
    measurements: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Telemetry(Protocol):
    """Where events go. An exporter may implement it, or attach to a `TelemetryHub`."""

    def emit(self, event: TelemetryEvent) -> None:
        """Take in an event, at once: it is called on the event loop. Must not raise."""
        ...


Listener: TypeAlias = Callable[[TelemetryEvent], None]


class TelemetryHub:
    """Calls every listener whose pattern fits the event's name, in the task that emits it.

    A listener must be quick. One that raises stays attached, is logged and counted in `failures`; the others are
    called all the same.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.last_error = ""
        self._lock = threading.Lock()
        self._listeners: dict[str, SignalRoute[Listener]] = {}
        self._router: SignalRouter[Listener] = SignalRouter()

    def attach(self, id_: str, pattern: str, listener: Listener) -> None:
        """Call `listener` with events whose name fits the pattern, such as `action.*`. From any thread.

        Raises SpecError for a bad pattern, an id in use, and when there are 1,000 listeners.
        """
        with self._lock:
            if id_ in self._listeners:
                raise SpecError(f"telemetry: a listener {id_!r} is attached already; detach it first.")
            if len(self._listeners) >= _MOST_LISTENERS:
                raise SpecError(f"telemetry: {_MOST_LISTENERS} listeners are attached; detach some.")
            self._listeners[id_] = SignalRoute(pattern, listener)
            self._router = SignalRouter(self._listeners.values())

    def detach(self, id_: str) -> bool:
        """Call the listener no more; False when there was none of that id. From any thread."""
        with self._lock:
            there = self._listeners.pop(id_, None) is not None
            self._router = SignalRouter(self._listeners.values())
        return there

    def emit(self, event: TelemetryEvent) -> None:
        """Call the listeners."""
        for route in self._router.match(event.name):
            try:
                route.target(event)
            except Exception as error:  # noqa: BLE001 - whatever a listener raises must not reach the agent it looks at
                self.failures += 1
                self.last_error = f"{type(error).__name__}: {error}"
                _log.warning("a telemetry listener for %r failed on %r", route.pattern, event.name, exc_info=True)


TELEMETRY: Final = TelemetryHub()
"""The hub of this process, to which agents emit unless they are given another."""
