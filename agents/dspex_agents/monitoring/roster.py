"""`Roster`: every agent of a system, kept from one look to the next, for figures of a recent window."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.errors import SpecError

AgentState = Literal["alive", "starting", "late", "silent", "down", "ended"]
_ORDERLY = ("normal", "shutdown", "removed")
_MAX_RESTARTS_KEPT = 100


class AgentFigures(NamedTuple):
    """One agent at one look.

    `state`: "alive" is one whose host gave its figures; "late" one that should run but whose host gave none, "silent"
    one of which that is so at the second look in a row; "ended" one that ended in good order and does not come back.
    Of the recent window of `span_s` seconds: `done` messages, `error_rate` in percent of them, `response_ms` mean time
    spent on one, `queue_growth` messages; None means not known. `failures` are its restarts within the failure window.
    Memory is that of its process, in bytes.
    """

    name: str
    state: AgentState
    status: str
    kind: str = ""
    reason: str = ""
    node: str = ""
    pid: int = 0
    memory_bytes: int = 0
    mailbox: int = 0
    mailbox_size: int = 0
    in_flight: int = 0
    handled: int = 0
    failed: int = 0
    restarts: int = 0
    failures: int = 0
    span_s: float = 0.0
    done: int = 0
    error_rate: float | None = None
    response_ms: float | None = None
    queue_growth: int = 0
    progressed: bool = True
    """Whether it got through a message since the last look, or none was waiting."""

    @property
    def mailbox_fill(self) -> float | None:
        """Percent of the mailbox in use; None where its size is not known."""
        return 100.0 * self.mailbox / self.mailbox_size if self.mailbox_size else None


class _Mark(NamedTuple):
    """The counters of one incarnation at a moment."""

    at: float
    handled: int
    failed: int
    busy_s: float
    mailbox: int


@dataclass(slots=True)
class _Track:
    """One agent between two looks.

    Its `marks`: the window begins at the first; the second, once half a window old, takes its place; the third is
    that of the last look.
    """

    epoch: int | None = None
    marks: tuple[_Mark, _Mark, _Mark] | None = None
    restarts: int = 0
    restarted: deque[tuple[float, int]] | None = None
    is_awaited: bool = False
    look: int = 0


class Step(NamedTuple):
    """What an agent did since the last look: messages handled and failed, seconds spent on them, restarts."""

    handled: int = 0
    failed: int = 0
    busy_s: float = 0.0
    restarts: int = 0


class Roster:
    """Pure: told each node of the tree once a look. Every agent is on it from the look that first shows it.

    Rates are those since half a window to one window ago, or one look where looks are further apart; of an agent
    that is younger, since it started. Restarts count for `failure_window_s`. Times are seconds.
    """

    def __init__(self, window_s: float = 60.0, failure_window_s: float = 300.0) -> None:
        for name, value in (("window_s", window_s), ("failure_window_s", failure_window_s)):
            if not value > 0:
                raise SpecError(f"roster: {name} must be a number of seconds above 0, got {value!r}.")
        self._window_s, self._failure_window_s = window_s, failure_window_s
        self._tracks: dict[str, _Track] = {}
        self._look = 0
        self._enrolled: list[str] = []

    def __len__(self) -> int:
        return len(self._tracks)

    def begin(self) -> None:
        """Begin a look."""
        self._look += 1

    def observe(self, node: TreeNode, now: float) -> tuple[AgentFigures, Step]:
        """Take in one agent at time `now` (seconds since the epoch) and return its figures and its last step."""
        track = self._tracks.get(node.id)
        if track is None:
            track = self._tracks[node.id] = _Track(restarts=node.restarts)
            self._enrolled.append(node.id)
        track.look = self._look
        restarts, failures = self._count_restarts(track, node.restarts, now)
        if node.agent is None:
            state = _absent(node, track)
            figures = AgentFigures(
                node.id, state, node.status, reason=node.last_reason, restarts=node.restarts, failures=failures
            )
            return figures, Step(restarts=restarts)
        track.is_awaited = False
        return self._alive(node, node.agent, track, failures, restarts, now)

    def end(self) -> tuple[list[str], list[str]]:
        """End the look: return who came since the last end, and who was not seen in this look and is forgotten."""
        left = [name for name, track in self._tracks.items() if track.look != self._look]
        for name in left:
            del self._tracks[name]
        enrolled, self._enrolled = self._enrolled, []
        return enrolled, left

    def _alive(
        self, node: TreeNode, status: AgentStatus, track: _Track, failures: int, restarts: int, now: float
    ) -> tuple[AgentFigures, Step]:
        mark = _Mark(now, status.handled, status.failed, status.busy_s, status.mailbox)
        base, last = self._base(track, status, mark)
        done = mark.handled + mark.failed - base.handled - base.failed
        moved = mark.handled + mark.failed - last.handled - last.failed
        figures = AgentFigures(
            node.id,
            "alive",
            node.status,
            kind=status.kind,
            reason=node.last_reason,
            node=node.node,
            pid=node.pid,
            memory_bytes=node.memory_bytes,
            mailbox=status.mailbox,
            mailbox_size=status.mailbox_size,
            in_flight=status.in_flight,
            handled=status.handled,
            failed=status.failed,
            restarts=node.restarts,
            failures=failures,
            span_s=max(0.0, now - base.at),
            done=done,
            error_rate=100.0 * (mark.failed - base.failed) / done if done > 0 else None,
            response_ms=1000.0 * (mark.busy_s - base.busy_s) / done if done > 0 else None,
            queue_growth=mark.mailbox - base.mailbox,
            progressed=moved > 0 or not last.mailbox or not mark.mailbox or bool(status.paused),
        )
        step = Step(mark.handled - last.handled, mark.failed - last.failed, mark.busy_s - last.busy_s, restarts)
        return figures, step

    def _base(self, track: _Track, status: AgentStatus, mark: _Mark) -> tuple[_Mark, _Mark]:
        """Return the marks that the window and the last step begin at, and move the window on."""
        if track.marks is None or track.epoch != status.epoch:
            is_young = track.epoch is not None or 0 <= mark.at - status.started_at <= self._window_s
            older = newer = _Mark(status.started_at, 0, 0, 0.0, 0) if is_young else mark
            last = older._replace(mailbox=0)  # at first sight nothing is known to have waited
            track.epoch = status.epoch
        else:
            older, newer, last = track.marks
        if not 0 <= mark.at - newer.at < self._window_s / 2:  # a clock that was set back begins a new window too
            older, newer = newer, mark
        track.marks = (older, newer, mark)
        return older, last

    def _count_restarts(self, track: _Track, restarts: int, now: float) -> tuple[int, int]:
        """Return the restarts since the last look and within the window; a rebuilt supervisor counts from 0 again."""
        more = restarts - track.restarts if restarts >= track.restarts else restarts
        track.restarts = restarts
        if more:
            track.restarted = track.restarted or deque(maxlen=_MAX_RESTARTS_KEPT)
            track.restarted.append((now, more))
        if track.restarted is None:
            return more, 0
        while track.restarted and not 0 <= now - track.restarted[0][0] < self._failure_window_s:
            track.restarted.popleft()
        return more, sum(count for _, count in track.restarted)


def _absent(node: TreeNode, track: _Track) -> AgentState:
    """Return the state of an agent without figures. One may be starting or late at one look, but not at the next."""
    was_awaited, track.is_awaited = track.is_awaited, node.status in {"starting", "running"}
    if node.status == "running":
        return "silent" if was_awaited else "late"
    if node.status == "starting" and not was_awaited:
        return "starting"
    return "ended" if node.status in {"stopped", "removed"} and node.last_reason in _ORDERLY else "down"
