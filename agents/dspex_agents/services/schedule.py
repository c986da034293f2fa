"""Periodic schedules of agents: when each is due, what was missed, and what came of it. Pure: time is passed in."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from dspex_agents.errors import SpecError
from dspex_agents.sensors.cron_sensor import CronTimes

_MOST_MISSED = 1000  # counted at most at once for a cron expression: a clock that jumps by years must not hold us up
_SLACK = 100
_MOST_ERROR = 1000
_Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A message that agent `owner` gets every `every_s` seconds, or at the times of the expression `cron`.

    The first tick comes after `first_after_s` (by default one interval; with cron, at the first time after that);
    each one is put off by a random part of `jitter_s`. A tick that is not answered within `timeout_s`, or with an
    error, is a failure and is not sent again; only with `retry_safe` is it, if the owner's process dies with it.
    """

    owner: str
    id: str
    message: Any = None
    every_s: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    first_after_s: float | None = None
    jitter_s: float = 0.0
    timeout_s: float = 30.0
    retry_safe: bool = False

    def __post_init__(self) -> None:
        where = f"schedule {self.owner!r}/{self.id!r}"
        if not self.owner or not self.id:
            raise SpecError(f"{where}: owner and id must not be empty.")
        if (self.every_s is None) == (self.cron is None):
            raise SpecError(f"{where}: give either every_s or cron, got {self.every_s!r} and {self.cron!r}.")
        if self.every_s is not None and not 0 < self.every_s < math.inf:
            raise SpecError(f"{where}: every_s must be a positive number of seconds, got {self.every_s}.")
        if self.cron is not None:
            CronTimes(self.cron, self.timezone)
        if self.first_after_s is not None and not 0 <= self.first_after_s < math.inf:
            raise SpecError(f"{where}: first_after_s must be seconds, not negative, got {self.first_after_s}.")
        if not 0 <= self.jitter_s < (self.every_s or math.inf):
            raise SpecError(f"{where}: jitter_s must be at least 0 and shorter than the interval, got {self.jitter_s}.")
        if not self.timeout_s > 0:
            raise SpecError(f"{where}: timeout_s must be a positive number of seconds, got {self.timeout_s}.")


@dataclass(frozen=True, slots=True)
class Tick:
    """One message that is due. Messages of one `key` are the same tick: an agent handles them once."""

    schedule: Schedule
    key: str
    due_at: float | None
    """None for one fired by hand."""


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """A schedule and how it fares. Times are seconds since the epoch.

    `missed` ticks came due while nobody looked (the agent was down or paused) or the last one was still under way;
    they are not made up for. `due_at` is the next one, `under_way` says how many are not answered yet.
    """

    schedule: Schedule
    due_at: float
    done: int = 0
    failed: int = 0
    missed: int = 0
    under_way: int = 0
    last_at: float | None = None
    last_error: str = ""


class Timetable:
    """Schedules by owner and id, and their ticks by the clock."""

    def __init__(self, rng: random.Random, *, most: int = 10_000) -> None:
        if most < 1:
            raise SpecError(f"schedules: most must be at least 1, got {most}.")
        self._rng, self._most = rng, most
        self._states: dict[_Key, ScheduleState] = {}
        self._times: dict[_Key, CronTimes] = {}
        self._at: dict[_Key, float] = {}  # when a tick is fired: due, and its jitter
        self._heap: list[tuple[float, _Key]] = []
        self._by_hand = 0

    def __len__(self) -> int:
        return len(self._states)

    def states(self, owner: str | None = None) -> tuple[ScheduleState, ...]:
        """Return the schedules of one owner or of all, by owner and id."""
        found = sorted(key for key in self._states if owner in {None, key[0]})
        return tuple(self._states[key] for key in found)

    def state(self, owner: str, id_: str) -> ScheduleState:
        """Return one schedule. Raises SpecError when there is none."""
        if (owner, id_) not in self._states:
            ids = ", ".join(key[1] for key in sorted(self._states) if key[0] == owner) or "none"
            raise SpecError(f"No schedule {id_!r} of agent {owner!r}. It has: {ids}.")
        return self._states[owner, id_]

    def owners(self) -> set[str]:
        """Return the agents that have a schedule."""
        return {owner for owner, _ in self._states}

    def put(self, schedule: Schedule, now: float) -> ScheduleState:
        """Add a schedule, or change the one of its owner and id; one that is the same goes on as it was.

        Raises SpecError when there are too many.
        """
        key = (schedule.owner, schedule.id)
        known = self._states.get(key)
        if known is not None and known.schedule == schedule:
            return known
        if known is None and len(self._states) >= self._most:
            raise SpecError(f"schedules: {self._most} are there, no room for {schedule.id!r} of {schedule.owner!r}.")
        self._times.pop(key, None)
        state = ScheduleState(schedule, 0.0) if known is None else replace(known, schedule=schedule)
        self._states[key] = state
        first_after_s = schedule.first_after_s or 0.0
        by_interval = schedule.every_s is not None and schedule.first_after_s is not None
        return self._set(key, now + first_after_s if by_interval else self._next(schedule, now + first_after_s))

    def restore(self, states: Iterable[ScheduleState]) -> None:
        """Take in the schedules of an earlier life, with what is due by now."""
        for state in states:
            key = (state.schedule.owner, state.schedule.id)
            self._states[key] = state
            self._set(key, state.due_at)

    def set_interval(self, owner: str, id_: str, every_s: float, now: float) -> ScheduleState:
        """Change the interval, counted from now. Raises SpecError for a schedule by cron."""
        schedule = self.state(owner, id_).schedule
        if schedule.every_s is None:
            raise SpecError(
                f"schedule {owner!r}/{id_!r} goes by cron {schedule.cron!r}; register it anew to change that."
            )
        changed = replace(schedule, every_s=every_s)
        self._states[owner, id_] = replace(self._states[owner, id_], schedule=changed)
        return self._set((owner, id_), now + every_s)

    def remove(self, owner: str, id_: str) -> bool:
        """Take a schedule out; False when there is none."""
        key = (owner, id_)
        self._times.pop(key, None)
        self._at.pop(key, None)
        return self._states.pop(key, None) is not None

    def fire(self, owner: str, id_: str, now: float) -> Tick:
        """Return a tick at once, due or not; the next due one keeps its time. Raises SpecError for no schedule."""
        state = self.state(owner, id_)
        self._by_hand += 1
        self._states[owner, id_] = replace(state, under_way=state.under_way + 1)
        return Tick(state.schedule, f"{owner}/{id_}/by-hand-{self._by_hand}@{now!r}", None)

    def due(self, now: float) -> tuple[Tick, ...]:
        """Return the ticks that are due and set their schedules' next times. At most one of each: the last."""
        ticks = []
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) != at:
                continue  # changed or removed since
            state = self._states[key]
            last, skipped, following = self._passed(state, now)
            if state.under_way:
                state = replace(state, missed=state.missed + skipped + 1)
            else:
                ticks.append(Tick(state.schedule, f"{key[0]}/{key[1]}@{last!r}", last))
                state = replace(state, missed=state.missed + skipped, under_way=1)
            self._states[key] = state
            self._set(key, following)
        return tuple(ticks)

    def settle(self, tick: Tick, now: float, error: str | None = None) -> ScheduleState | None:
        """Note what came of a tick; return the schedule's state, None when it is gone."""
        key = (tick.schedule.owner, tick.schedule.id)
        state = self._states.get(key)
        if state is None:
            return None
        done, failed = (state.done + 1, state.failed) if error is None else (state.done, state.failed + 1)
        state = replace(
            state,
            done=done,
            failed=failed,
            under_way=max(0, state.under_way - 1),
            last_at=now,
            last_error=(error or "")[:_MOST_ERROR],
        )
        self._states[key] = state
        return state

    def next_at(self) -> float | None:
        """Return when the next tick is to be fired."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _set(self, key: _Key, due_at: float) -> ScheduleState:
        state = self._states[key] = replace(self._states[key], due_at=due_at)
        self._at[key] = due_at + self._rng.random() * state.schedule.jitter_s
        heapq.heappush(self._heap, (self._at[key], key))
        if len(self._heap) > 2 * len(self._at) + _SLACK:  # mostly times that hold no more
            self._heap = [(at, key) for key, at in self._at.items()]
            heapq.heapify(self._heap)
        return state

    def _next(self, schedule: Schedule, after: float) -> float:
        if schedule.every_s is not None:
            return after + schedule.every_s
        key = (schedule.owner, schedule.id)
        if key not in self._times:
            self._times[key] = CronTimes(schedule.cron or "", schedule.timezone)
        return self._times[key].next_after(after)

    def _passed(self, state: ScheduleState, now: float) -> tuple[float, int, float]:
        """Return the last time that has passed, how many passed before it, and the first that has not."""
        schedule, last, skipped = state.schedule, state.due_at, 0
        if schedule.every_s is not None:
            skipped = max(0, math.floor((now - last) / schedule.every_s))
            last += skipped * schedule.every_s
            following = last + schedule.every_s
            return last, skipped, following if following > now else following + schedule.every_s
        following = self._next(schedule, last)
        while following <= now and skipped < _MOST_MISSED:
            last, skipped, following = following, skipped + 1, self._next(schedule, following)
        return last, skipped, following if following > now else self._next(schedule, now)
