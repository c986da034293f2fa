"""One child as its supervisor knows it, and the numbers of its incarnations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dspex_agents.supervision.child_spec import AnySpec

ChildStatus = Literal["stopped", "starting", "running", "stopping", "backoff", "ended", "removed"]
"""`ended`: for good, by itself, though a restart of the whole group starts it again; `removed`: for ever."""


class Epochs:
    """Numbers of incarnations: never the same twice, and growing even over the death of whoever counts them."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, now: float) -> int:
        """Return the next one: milliseconds, or one more than the last where that is not enough."""
        self._last = max(self._last + 1, int(now * 1000))
        return self._last

    def seen(self, epoch: int) -> None:
        """Never give this one or an earlier one again."""
        self._last = max(self._last, epoch)


@dataclass(slots=True, eq=False)
class Child:
    """What the supervisor knows of one child. `dynamic` ones were added while it ran and leave nothing behind."""

    spec: AnySpec
    status: ChildStatus = "stopped"
    epoch: int = 0
    restarts: int = 0
    last_reason: str = ""
    dynamic: bool = False
    was_up: bool = False
    then: Literal["", "remove", "start", "end"] = ""
    """What follows when the stop that was asked for is done; a temporary child ends with the restart of its group."""
    stop_reason: str = "shutdown"
