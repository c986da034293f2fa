"""The watchdog of a host: a thread that notices when the event loop stands still, and which agent stands on it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from types import CodeType, FrameType

_log = logging.getLogger(__name__)
_BEATS = 8  # in each `hang_s`


class LoopWatch:
    """The decision alone: beats come in, standing still for `hang_s` seconds is a hang."""

    def __init__(self, hang_s: float, now: float) -> None:
        self.hang_s, self._last = hang_s, now

    def beat(self, now: float) -> None:
        """Take note that the loop moves."""
        self._last = now

    def is_hung(self, now: float) -> bool:
        """Say whether the last beat is too long ago."""
        return now - self._last >= self.hang_s


class Watchdog:
    """Watches the event loop on which `start` is called.

    When it stands still, `on_hang(name, where)` is called once, on the watchdog's thread: the agent whose code stands
    on the loop ("" when it is none), and file, line and function of that code.
    """

    def __init__(
        self,
        hang_s: float,
        time: Callable[[], float],
        agent_frames: CodeType,
        name_in: Callable[[FrameType], str],
        on_hang: Callable[[str, str], None],
    ) -> None:
        """`agent_frames` is the code whose frame surrounds an agent's; `name_in(frame)` reads its name there."""
        self._hang_s, self._time = hang_s, time
        self._agent_frames, self._name_in, self._on_hang = agent_frames, name_in, on_hang
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch the running loop."""
        loop = asyncio.get_running_loop()
        self._watch = LoopWatch(self._hang_s, self._time())
        self._loop_thread = threading.get_ident()
        self._beat(loop)
        threading.Thread(target=self._guard, name="dspex-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch.beat(self._time())
        if not self._stopped.is_set():
            loop.call_later(self._hang_s / _BEATS, self._beat, loop)

    def _guard(self) -> None:
        while not self._stopped.wait(self._hang_s / _BEATS):
            if self._watch.is_hung(self._time()):
                self._stopped.set()
                frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the one way to see another thread
                name, where = self._culprit(frame)
                story = "".join(traceback.format_stack(frame)) if frame else "(its thread is gone)"
                _log.error("the event loop stood still for %g s, in agent %r:\n%s", self._hang_s, name, story)
                self._on_hang(name, where)

    def _culprit(self, frame: FrameType | None) -> tuple[str, str]:
        if frame is None:
            return "", "a thread that is gone"
        where = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
        while frame is not None:
            if frame.f_code is self._agent_frames:
                return self._name_in(frame), where
            frame = frame.f_back
        return "", where
