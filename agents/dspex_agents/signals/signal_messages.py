"""What a signal bus is asked, what it answers, and what its subscribers are sent."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_delivery import Subscription
from dspex_agents.signals.signal_log import LoggedSignal


@dataclass(frozen=True, slots=True)
class Publish:
    """Store the signal and bring it to its subscribers. Answered with a PublishReceipt once it is stored.

    While a subscription that blocks is full, the answer waits; the message's deadline bounds that. A signal whose
    source and id are known already is neither stored nor delivered again, so publishing may safely be repeated.
    """

    signal: Signal


@dataclass(frozen=True, slots=True)
class PublishReceipt:
    """A published signal's number in the log, how many subscriptions it goes to, and whether it was there before."""

    sequence: int
    subscriptions: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class SignalDelivery:
    """What a subscriber is sent; its answer, whatever it is, acknowledges, and an error asks for redelivery.

    A signal may come more than once: `sequence`, the number in the bus's log, tells. `attempt` counts from 1.
    """

    signal: Signal
    subscription: str
    sequence: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Add the subscription, or replace the one of its id; answered with its id.

    With `since`, signals of the log after that sequence are delivered too (0: all that there are).
    """

    subscription: Subscription
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Remove a subscription. What was still to be delivered becomes dead letters; answered with their number."""

    subscription: str


@dataclass(frozen=True, slots=True)
class Replay:
    """Answer with a ReplayPage of the log: signals that fit `pattern`, after sequence `since`, taken from `since_time`.

    `since_time` is in seconds since the epoch; `limit` is at most 10,000.
    """

    pattern: str = "**"
    since: int = 0
    since_time: float = 0.0
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """A piece of the log, and the `since` of the next piece (None: this was the last)."""

    signals: tuple[LoggedSignal, ...]
    next_since: int | None


@dataclass(frozen=True, slots=True)
class GetDeadSignals:
    """Answer with dead letters, oldest first, of one subscription or of all."""

    subscription: str | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class RedriveDeadSignals:
    """Deliver dead letters again: these sequences, or all; answered with the number.

    At most 1,000 a message, and no more than the subscription's queue has room for: ask again for the rest.
    """

    subscription: str
    sequences: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class DiscardDeadSignals:
    """Delete dead letters for good (these sequences, or all); answered with the number."""

    subscription: str
    sequences: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class PruneLog:
    """Delete signals taken before a time that nobody is still to be sent; answered with the number."""

    before: float


@dataclass(frozen=True, slots=True)
class DeliverDue:
    """Start the deliveries that are due by the clock; answered with how many. The bus does so by itself too."""
