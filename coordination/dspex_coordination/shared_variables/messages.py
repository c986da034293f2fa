"""What is asked of a shared variable, and what it asks and tells others.

| message        | to             | answer                                                           |
|----------------|----------------|------------------------------------------------------------------|
| `ReadValue`    | the variable   | `Versioned`; also as a control message, which passes all others  |
| `Propose`      | the variable   | `Versioned`, the new one, or an error of `refusals.py`           |
| `Observe`      | the variable   | `Versioned`, the current one; from now on the observer is told   |
| `Unobserve`    | the variable   | None                                                             |
| `Join`         | the variable   | None; the agent is a member with that weight                     |
| `Leave`        | the variable   | None                                                             |
| `HandOver`     | the variable   | None; another agent leads                                        |
| `GetHistory`   | the variable   | tuple of `Change`, the latest last                               |
| `Proposal`     | each member    | `Ballot`; a control message, so a busy member answers too        |
| `ValueChanged` | each observer  | told, ahead of the work that waits                               |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadValue:
    """Give the value of a version, the current one unless given."""

    version: int | None = None


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value, and how many changes led to it."""

    version: int
    value: Any


@dataclass(frozen=True, slots=True)
class Propose:
    """Change the value. `by` is the proposing agent and `epoch` its incarnation.

    With `expected` only if that version is still current. Where the members' values are averaged, `value` is not used.
    """

    by: str
    value: Any = None
    expected: int | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Observe:
    """Tell the agent of this name of every change. To ask twice does no harm."""

    observer: str


@dataclass(frozen=True, slots=True)
class Unobserve:
    """Tell it no more."""

    observer: str


@dataclass(frozen=True, slots=True)
class Join:
    """Have a say from now on, or another weight."""

    member: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Leave:
    """Have no say any more."""

    member: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """From the leader: let another agent lead."""

    by: str
    epoch: int
    to: str


@dataclass(frozen=True, slots=True)
class GetHistory:
    """Give the latest changes."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what the value became, who proposed it, by which policy, when (seconds since the epoch)."""

    version: int
    value: Any
    by: str
    how: str
    at: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """Asked of a member: whether `variable`, now at `version`, may get this value, or with `wanted` which it should."""

    variable: str
    version: int
    value: Any
    by: str
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class Ballot:
    """A member's answer: whether it accepts the value, or the value it wants, and why."""

    accept: bool | None = None
    value: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ValueChanged:
    """Told to an observer: `variable` has this value now."""

    variable: str
    version: int
    value: Any
