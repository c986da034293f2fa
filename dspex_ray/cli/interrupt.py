"""Ctrl-C, or SIGTERM: the first press ends the command in order, and hasty ones after it do not disturb that."""

from __future__ import annotations

import signal
import time
from types import FrameType

from dspex_ray.errors import DspexError

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""What asks a command to end: a person, and whatever else runs it, such as Kubernetes."""

_QUIET_S = 10.0


class StoppedError(DspexError):
    """Ctrl-C ended a command that says itself how far it came; a KeyboardInterrupt would leave typer without words."""


class Interrupt:
    """A handler of `STOPPING` that raises KeyboardInterrupt at most every ten seconds.

    Ending in order means stopping agents and the cluster's processes. A second press in the middle of it would leave
    them behind; one that comes later may be meant, because something hangs.
    """

    def __init__(self) -> None:
        self._last: float | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, unless the last one was just now."""
        now = time.monotonic()
        if self._last is None or now - self._last > _QUIET_S:
            self._last = now
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """Ignore every further press: nothing is left but the end of the process."""
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
