"""The supervisor as a pure state machine: events in, effects out, time passed in (OTP's supervisor.erl semantics)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Container, Iterable, Sequence
from typing import Literal

from dspex_agents.errors import SpecError
from dspex_agents.supervision.child import Child, ChildStatus, Epochs
from dspex_agents.supervision.child_spec import AnySpec, SupervisorSpec, check_unique
from dspex_agents.supervision.events import (
    ChildExited,
    ChildrenAdded,
    ChildrenLost,
    ChildStarted,
    ChildStartFailed,
    Effect,
    Event,
    Ready,
    RemovalRequested,
    Removed,
    RestartRequested,
    RetryDue,
    ScheduleRetry,
    StartChild,
    StartRequested,
    StopChild,
    Stopped,
    StopRequested,
)
from dspex_agents.supervision.restart import comes_back, recent

Phase = Literal["new", "starting", "running", "stopping", "stopped"]
_LOST = "killed: lost while its supervisor was gone"
_IN_START: tuple[ChildStatus, ...] = ("starting", "stopping")
_UP: tuple[ChildStatus, ...] = ("starting", "running", "stopping")


class SupervisorState:
    """One supervisor. `handle` is its only way in; it does no I/O and reads no clock."""

    def __init__(
        self,
        spec: SupervisorSpec,
        rng: random.Random,
        epochs: Epochs | None = None,
        dynamic: Iterable[AnySpec] = (),
        without: Container[str] = (),
    ) -> None:
        """For one that is rebuilt: `dynamic` are children added to an earlier incarnation, `without` those removed."""
        self.spec, self._rng, self._epochs = spec, rng, epochs or Epochs()
        self.children = {child.id: Child(child) for child in spec.ordered() if child.id not in without}
        self.children |= {child.id: Child(child, dynamic=True) for child in dynamic}
        self.phase: Phase = "new"
        self.reason = ""
        self.restart_times: tuple[float, ...] = ()
        self._starting: set[str] = set()
        self._stopping: set[str] = set()
        self._to_stop: deque[list[str]] = deque()  # groups: those of one are stopped together, the groups in turn
        self._to_start: deque[str] = deque()
        self._ready = False

    def handle(self, event: Event, now: float) -> list[Effect]:  # noqa: PLR0911 - a table: one line, one return
        """Take in one event at time `now` (seconds) and return what to do, in order. Raises SpecError."""
        match event:
            case StartRequested():
                return self._recover(event, now) if event.recovering else self._start(now)
            case StopRequested(reason):
                return self._stop(reason, now)
            case ChildrenAdded(specs):
                return self._add(specs, now)
            case RemovalRequested(id, reason):
                self._child(id).stop_reason = reason
                return self._ask_to_stop(self._child(id), "remove", now)
            case RestartRequested(id):
                return self._ask_to_stop(self._child(id), "start", now)
            case ChildrenLost(lost):
                return self._lost(lost, now)
            case ChildStarted(id, epoch) if self._is(id, epoch, _IN_START):
                return self._started(self.children[id], now)
            case ChildStartFailed(id, epoch, reason) if self._is(id, epoch, _IN_START):
                return self._start_failed(self.children[id], reason, now)
            case ChildExited(id, epoch, reason) if self._is(id, epoch, _UP):
                return self._exited(self.children[id], reason, now)
            case RetryDue(id, epoch) if self._is(id, epoch, ("backoff",)):
                return [self._start_child(self.children[id], now)]
            case _:
                return []  # a late report of an older incarnation, or of a child that is forgotten

    def _is(self, id_: str, epoch: int, statuses: Sequence[ChildStatus]) -> bool:
        child = self.children.get(id_)
        return child is not None and child.epoch == epoch and child.status in statuses

    def _child(self, id_: str) -> Child:
        if id_ not in self.children:
            raise SpecError(f"supervisor {self.spec.id!r} has no child {id_!r}.")
        return self.children[id_]

    def _set(self, child: Child, status: ChildStatus) -> None:
        id_ = child.spec.id
        if child.status in ("starting", "stopping"):
            (self._starting if child.status == "starting" else self._stopping).discard(id_)
        child.status = status
        if status in ("starting", "stopping"):
            (self._starting if status == "starting" else self._stopping).add(id_)

    # starting -----------------------------------------------------------------------------------------------------
    def _start(self, now: float) -> list[Effect]:
        self.phase, self._ready, self.restart_times = "starting", False, ()
        self._to_start = deque(self.children)
        return self._advance(now)

    def _recover(self, event: StartRequested, now: float) -> list[Effect]:
        """Adopt the living; what is missing died with our shell, which counts as one loss."""
        self.phase, self._ready = "running", True
        effects: list[Effect] = [Ready()]
        missing = []
        for id_, child in list(self.children.items()):
            if id_ in event.alive:
                child.epoch, child.was_up = event.alive[id_], True
                self._epochs.seen(child.epoch)
                self._set(child, "running")
            elif isinstance(child.spec, SupervisorSpec):
                effects.append(self._start_child(child, now))  # its children are adopted in turn
            else:
                child.epoch, child.was_up = self._epochs.next(now), True
                self._set(child, "running")
                missing.append(ChildExited(id_, child.epoch, event.ended.get(id_, _LOST)))
        return effects + (self._lost(tuple(missing), now) if missing else [])

    def _start_child(self, child: Child, now: float) -> StartChild:
        child.epoch, child.then = self._epochs.next(now), ""
        self._set(child, "starting")
        return StartChild(child.spec.id, child.epoch)

    def _started(self, child: Child, now: float) -> list[Effect]:
        child.was_up = True
        if child.status == "stopping":
            return [self._stop_child(child)]  # a stop was asked for while it was still starting
        self._set(child, "running")
        return self._advance(now)

    def _start_failed(self, child: Child, reason: str, now: float) -> list[Effect]:
        child.last_reason = reason
        if child.status == "stopping" or self.phase == "stopping":
            return self._after_stop(child, reason, now)
        self._set(child, "stopped")
        if self.phase == "starting":  # OTP: a failed first start rolls back and fails the supervisor
            return self._stop(f"child {child.spec.id!r} did not start: {reason}", now)
        if child.dynamic and not child.was_up:  # OTP: start_child gives the error and keeps nothing
            return [self._forget(child, reason, failed=True), *self._advance(now)]
        return self._restart([child], reason, now)

    # adding and removing ------------------------------------------------------------------------------------------
    def _add(self, specs: Sequence[AnySpec], now: float) -> list[Effect]:
        what = f"supervisor {self.spec.id!r}"
        if self.phase != "running":
            raise SpecError(f"{what} is {self.phase}; children can be added while it is running.")
        check_unique((*self.children, *(spec.id for spec in specs)), what)
        if len(self.children) + len(specs) > self.spec.max_children:
            raise SpecError(f"{what} takes at most {self.spec.max_children} children and has {len(self.children)}.")
        for spec in specs:
            if spec.significant and self.spec.auto_shutdown == "never":
                raise SpecError(f"child {spec.id!r} is significant, but the auto_shutdown of {what} is 'never'.")
            if unknown := [name for name in spec.depends_on if name not in self.children]:
                raise SpecError(f"child {spec.id!r} depends on {', '.join(unknown)}, not among its siblings.")
        added = [Child(spec, dynamic=True) for spec in specs]
        self.children |= {child.spec.id: child for child in added}
        return [self._start_child(child, now) for child in added]

    def _ask_to_stop(self, child: Child, then: Literal["remove", "start"], now: float) -> list[Effect]:
        if self.phase != "running" or (child.then == "end" and then == "start"):
            return []  # it is going down in any case
        child.then = then
        match child.status:
            case "running":
                return [self._stop_child(child)]
            case "starting":
                self._set(child, "stopping")  # stopped as soon as it reports back
                return []
            case "stopping":
                return []
            case _ if then == "remove":
                return [self._forget(child, child.last_reason or "removed")]
            case _:
                return [self._start_child(child, now)]

    def _forget(self, child: Child, reason: str, *, failed: bool = False) -> Removed:
        self._set(child, "removed")
        self._dequeue(child.spec.id)
        del self.children[child.spec.id]
        return Removed(child.spec.id, reason, failed)

    def _dequeue(self, id_: str) -> None:
        """Take a child that is gone out of the restart of its group: its id may come again."""
        if id_ in self._to_start:
            self._to_start.remove(id_)
        for group in self._to_stop:
            if id_ in group:
                group.remove(id_)

    # exits --------------------------------------------------------------------------------------------------------
    def _exited(self, child: Child, reason: str, now: float) -> list[Effect]:
        child.last_reason = reason
        if child.status == "stopping" or self.phase == "stopping":
            return self._after_stop(child, reason, now)
        self._set(child, "stopped")
        if self.phase == "starting":
            return self._stop(f"child {child.spec.id!r} ended while starting: {reason}", now)
        if comes_back(child.spec, reason):
            return self._restart([child], reason, now)
        return self._ended_for_good([child], now)

    def _lost(self, lost: Sequence[ChildExited], now: float) -> list[Effect]:
        gone = [self.children[each.id] for each in lost if self._is(each.id, each.epoch, _UP)]
        reasons = {each.id: each.reason for each in lost}
        expected = [child for child in gone if child.status == "stopping"]
        unborn = [c for c in gone if c.status == "starting" and c.dynamic and not c.was_up]
        fallen = [child for child in gone if child not in expected and child not in unborn]
        for child in gone:  # all of them first: what follows must not count on one that is lost too
            child.last_reason = reasons[child.spec.id]
            self._set(child, "stopped")
        effects: list[Effect] = [self._forget(child, child.last_reason, failed=True) for child in unborn]
        for child in expected:
            effects += self._after_stop(child, child.last_reason, now)
        if not fallen or self.phase in ("stopping", "stopped"):
            return effects + self._advance(now)
        if self.phase == "starting":
            first = fallen[0]
            return effects + self._stop(f"child {first.spec.id!r} ended while starting: {first.last_reason}", now)
        ended = [child for child in fallen if not comes_back(child.spec, child.last_reason)]
        effects += self._ended_for_good(ended, now)
        back = [child for child in fallen if comes_back(child.spec, child.last_reason)]
        if back and self.phase == "running":
            effects += self._restart(back, back[0].last_reason, now)
        return effects

    def _ended_for_good(self, ended: Sequence[Child], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for child in ended:
            self._dequeue(child.spec.id)
            if child.dynamic and child.spec.restart == "temporary":
                effects.append(self._forget(child, child.last_reason))
            else:
                self._set(child, "removed" if child.spec.restart == "temporary" else "ended")
        if any(child.spec.significant for child in ended) and self._shuts_down():
            return effects + self._stop("shutdown", now)
        return effects

    def _shuts_down(self) -> bool:
        match self.spec.auto_shutdown:
            case "any_significant":
                return True
            case "all_significant":
                return all(c.status in ("ended", "removed") for c in self.children.values() if c.spec.significant)
            case _:
                return False

    def _restart(self, fallen: Sequence[Child], reason: str, now: float) -> list[Effect]:
        """Restart what fell at one blow, and whom the strategy takes with it: one entry in the restart window."""
        self.restart_times = recent((*self.restart_times, now), now, self.spec.period_s)
        if len(self.restart_times) > self.spec.intensity:
            return self._stop(
                f"restart intensity reached: {len(self.restart_times)} restarts within {self.spec.period_s:g} s, "
                f"the last of {fallen[0].spec.id!r} ({reason})",
                now,
            )
        for child in fallen:
            child.restarts += 1
        if self.spec.strategy == "one_for_one":
            return [self._start_after_backoff(child, now) for child in fallen]
        affected = self._affected({child.spec.id for child in fallen})
        ending = [id_ for id_ in affected if self.children[id_].spec.restart == "temporary"]
        effects = self._end_with_group([self.children[id_] for id_ in ending], reason)
        affected = [id_ for id_ in affected if id_ in self.children]
        for id_ in affected:
            if self.children[id_].status == "backoff":
                self._set(self.children[id_], "stopped")
        # a restart may come amid an earlier one: what that still had to do is not dropped
        to_stop = {id_ for group in self._to_stop for id_ in group} | {id_ for id_ in affected if self._is_up(id_)}
        to_start = {*self._to_start, *affected}.difference(ending)
        self._to_stop = deque([id_] for id_ in reversed(self.children) if id_ in to_stop)
        self._to_start = deque(i for i in self.children if i in to_start and self.children[i].status != "removed")
        return effects + self._advance(now)

    def _end_with_group(self, children: Sequence[Child], reason: str) -> list[Effect]:
        """Let temporary children go with the restart of their group: they are never started twice (OTP)."""
        effects: list[Effect] = []
        for child in children:
            if child.status in ("starting", "running", "stopping"):
                child.then = "end"
            elif child.dynamic:
                effects.append(self._forget(child, reason))
            else:
                self._set(child, "removed")
        return effects

    def _start_after_backoff(self, child: Child, now: float) -> Effect:
        delay = child.spec.backoff.delay_s(len(self.restart_times), self._rng)
        if delay <= 0:
            return self._start_child(child, now)
        self._set(child, "backoff")
        return ScheduleRetry(child.spec.id, child.epoch, delay)

    def _affected(self, fallen: set[str]) -> list[str]:
        ids = list(self.children)
        if self.spec.strategy == "one_for_all":
            return ids
        return ids[min(position for position, id_ in enumerate(ids) if id_ in fallen) :]

    def _is_up(self, id_: str) -> bool:
        return self.children[id_].status in ("running", "starting")

    # stopping -----------------------------------------------------------------------------------------------------
    def _stop(self, reason: str, now: float) -> list[Effect]:
        if self.phase in ("stopping", "stopped"):
            return []
        self.phase, self.reason = "stopping", reason
        self._to_start.clear()
        for child in self.children.values():
            child.then = ""
            if child.status == "backoff":
                self._set(child, "stopped")
        up = [id_ for id_ in reversed(self.children) if self._is_up(id_)]
        added = [id_ for id_ in up if self.children[id_].dynamic]  # they have no order: all at once, and first
        self._to_stop = deque(([added] if added else []) + [[id_] for id_ in up if not self.children[id_].dynamic])
        return self._advance(now)

    def _stop_child(self, child: Child) -> StopChild:
        self._set(child, "stopping")
        return StopChild(child.spec.id, child.epoch, child.spec.shutdown_s, child.stop_reason)

    def _after_stop(self, child: Child, reason: str, now: float) -> list[Effect]:
        """Go on after a stop that was asked for."""
        self._set(child, "stopped")
        if self.phase == "running" and child.then == "remove":
            return [self._forget(child, reason), *self._advance(now)]
        if self.phase == "running" and child.then == "start":
            return [self._start_child(child, now)]
        if self.phase == "running" and child.then == "end":
            if child.dynamic:
                return [self._forget(child, reason), *self._advance(now)]
            self._set(child, "removed")
        return self._advance(now)

    # the one queue: first the stops, group by group, then the starts, one by one ----------------------------------
    def _advance(self, now: float) -> list[Effect]:
        if (self._to_stop or self._to_start or self.phase != "running") and self._stopping:
            return []
        while self._to_stop:
            if effects := self._stop_group(self._to_stop.popleft()):
                return effects
            if self._stopping:
                return []
        if self.phase == "stopping":
            self.phase = "stopped"
            return [Stopped(self.reason)]
        if self._starting and (self._to_start or self.phase == "starting"):
            return []  # one_for_one restarts run beside the queue
        while self._to_start:
            child = self.children.get(self._to_start.popleft())
            if child is not None and child.status in ("stopped", "ended"):
                return [self._start_child(child, now)]
        if self.phase == "starting":
            self.phase = "running"
        if not self._ready:
            self._ready = True
            return [Ready()]
        return []

    def _stop_group(self, ids: Sequence[str]) -> list[Effect]:
        effects: list[Effect] = []
        for id_ in ids:
            child = self.children.get(id_)
            if child is None or not self._is_up(id_):
                continue
            if child.status == "running":
                effects.append(self._stop_child(child))
            else:
                self._set(child, "stopping")  # stopped as soon as it reports back
        return effects
