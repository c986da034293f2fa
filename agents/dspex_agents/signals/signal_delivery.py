"""A subscription and its queue of deliveries: pure data, told the time and every outcome."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from dspex_agents.errors import SpecError
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_router import SignalRoute
from dspex_agents.supervision.child_spec import Backoff

WhenFull = Literal["block", "dead_letter"]
_RETRY = Backoff(initial_s=1.0, factor=2.0, max_s=60.0)
_COUNTS = ("max_in_flight", "max_pending", "max_attempts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """The wish of `agent` to be sent the signals that fit `pattern`.

    A signal is acknowledged when the agent answers its `SignalDelivery`; an error, or no answer within
    `ack_timeout_s`, is a failed attempt. After `max_attempts` of them, `retry` apart, the signal is a dead letter. At
    most `max_in_flight` deliveries are open and at most `max_pending` wait; at that bound publishers wait ("block"),
    or the signal becomes a dead letter of this subscription at once. `id` is made of agent and pattern if not given.
    Raises SpecError.
    """

    agent: str
    pattern: str
    id: str = ""
    priority: int = 0
    max_in_flight: int = 8
    max_pending: int = 10_000
    max_attempts: int = 5
    ack_timeout_s: float = 30.0
    retry: Backoff = _RETRY
    when_full: WhenFull = "block"

    def __post_init__(self) -> None:
        if not self.agent:
            raise SpecError(f"subscription: agent must be an agent's name, got {self.agent!r}.")
        SignalRoute(self.pattern, None, self.priority)  # raises for a bad pattern or priority
        if not self.id:
            object.__setattr__(self, "id", f"{self.agent}:{self.pattern}")
        for name in _COUNTS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SpecError(f"subscription {self.id!r}: {name} must be a whole number from 1 on, got {value!r}.")
        if not self.ack_timeout_s > 0:
            raise SpecError(f"subscription {self.id!r}: ack_timeout_s must be above 0, got {self.ack_timeout_s!r}.")
        if self.when_full not in get_args(WhenFull):
            options = " or ".join(map(repr, get_args(WhenFull)))
            raise SpecError(f"subscription {self.id!r}: when_full must be {options}, got {self.when_full!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Subscription:
        """Rebuild a subscription of `to_dict`."""
        return cls(**{**fields, "retry": Backoff(**fields["retry"])})


@dataclass(frozen=True, slots=True)
class Delivery:
    """One signal on its way to one subscription. `attempts` have failed so far; `due_at` is the time of the next."""

    sequence: int
    signal: Signal
    attempts: int = 0
    due_at: float = 0.0


class DeliveryQueue:
    """What one subscription still has to be sent, in the order of the log, except what waits after a failure."""

    def __init__(self, subscription: Subscription, rng: random.Random) -> None:
        self.subscription, self._rng = subscription, rng
        self.acknowledged = self.failed = 0
        self.last_error = ""
        self.is_gone = False
        self._ready: list[tuple[int, Delivery]] = []
        self._delayed: list[tuple[float, int, Delivery]] = []
        self._in_flight: dict[int, Delivery] = {}

    def __len__(self) -> int:
        return len(self._ready) + len(self._delayed) + len(self._in_flight)

    @property
    def is_full(self) -> bool:
        """Whether the queue is at its bound."""
        return len(self) >= self.subscription.max_pending

    @property
    def in_flight(self) -> int:
        """How many deliveries are open."""
        return len(self._in_flight)

    def add(self, delivery: Delivery, now: float) -> None:
        """Take a delivery in."""
        if delivery.due_at > now:
            heapq.heappush(self._delayed, (delivery.due_at, delivery.sequence, delivery))
        else:
            heapq.heappush(self._ready, (delivery.sequence, delivery))

    def take(self, now: float) -> list[Delivery]:
        """Return what is to be sent now, as much as may be in flight."""
        while self._delayed and self._delayed[0][0] <= now:
            _, sequence, delivery = heapq.heappop(self._delayed)
            heapq.heappush(self._ready, (sequence, delivery))
        taken = []
        while self._ready and len(self._in_flight) < self.subscription.max_in_flight:
            sequence, delivery = heapq.heappop(self._ready)
            self._in_flight[sequence] = delivery
            taken.append(delivery)
        return taken

    def next_due(self) -> float | None:
        """Return when the next delayed delivery is due, or None."""
        return self._delayed[0][0] if self._delayed else None

    def retried(self, delivery: Delivery, now: float) -> Delivery | None:
        """Return the delivery as it is after one more failed attempt; None when it has had them all."""
        attempts = delivery.attempts + 1
        if attempts >= self.subscription.max_attempts:
            return None
        delay_s = self.subscription.retry.delay_s(attempts + 1, self._rng)
        return Delivery(delivery.sequence, delivery.signal, attempts, now + delay_s)

    def acknowledge(self, delivery: Delivery) -> None:
        """Note that the agent has answered."""
        self._in_flight.pop(delivery.sequence, None)
        self.acknowledged += 1
        self.is_gone, self.last_error = False, ""

    def fail(self, delivery: Delivery, again: Delivery | None, reason: str, now: float, *, gone: bool = False) -> None:
        """Note a failed attempt and queue `again`, if there is to be another one."""
        self._in_flight.pop(delivery.sequence, None)
        self.failed += 1
        self.is_gone, self.last_error = gone, reason
        if again is not None:
            self.add(again, now)

    def details(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        state = "gone" if self.is_gone else ("failing" if self.last_error else "active")
        return {
            "agent": self.subscription.agent,
            "pattern": self.subscription.pattern,
            "state": state,
            "pending": len(self) - self.in_flight,
            "in_flight": self.in_flight,
            "acknowledged": self.acknowledged,
            "failed_attempts": self.failed,
            "last_error": self.last_error,
        }
