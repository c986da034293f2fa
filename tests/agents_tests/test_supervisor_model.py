"""The supervisor against a reference model: a random walk of everything that can happen, in any order."""

from __future__ import annotations

import random
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dspex_agents.agent import Agent
from dspex_agents.supervision.child import Epochs
from dspex_agents.supervision.child_spec import Backoff, ChildSpec, SupervisorSpec
from dspex_agents.supervision.events import (
    ChildExited,
    ChildrenAdded,
    ChildrenLost,
    ChildStarted,
    ChildStartFailed,
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
from dspex_agents.supervision.supervisor_state import SupervisorState

STRATEGIES = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])
RESTARTS = st.sampled_from(["permanent", "transient", "temporary"])
REASONS = st.sampled_from(["normal", "shutdown", "crash", "killed"])
PERIOD_S = 5.0


class World:
    """What is really there: running incarnations, and orders on their way."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        self.stops: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.stopped: str | None = None

    def obey(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case StartChild(id, epoch):
                    assert id not in self.running, "doubled: it runs already"
                    assert id not in self.starts, "doubled: it is being started already"
                    self.starts[id] = epoch
                    self.retries.pop(id, None)
                case StopChild(id, epoch, _, _):
                    assert self.running.get(id) == epoch, "only what runs can be stopped"
                    assert id not in self.stops, "told to stop twice"
                    self.stops[id] = epoch
                case ScheduleRetry(id, epoch, delay_s):
                    assert delay_s > 0
                    self.retries[id] = epoch
                case Removed(id, _, _):
                    assert id not in self.running
                    assert id not in self.starts
                    self.retries.pop(id, None)
                case Stopped(reason):
                    assert self.stopped is None
                    assert not self.running
                    assert not self.starts
                    self.stopped = reason
                case Ready():
                    pass


class Reference:
    """OTP's rules in the plainest words: who should be up once all is quiet, or that nobody should."""

    def __init__(self, strategy: str, intensity: int, restarts: dict[str, str]) -> None:
        self.strategy, self.intensity, self.restarts = strategy, intensity, dict(restarts)
        self.order = list(restarts)
        self.wanted = set(restarts)
        self.gone: set[str] = set()
        self.window: list[float] = []
        self.down = False

    def ended(self, ids: list[str], reason: str, now: float) -> None:
        back = [i for i in ids if self._comes_back(i, reason)]
        for id_ in set(ids) - set(back):
            self.wanted.discard(id_)
            if self.restarts[id_] == "temporary":
                self.gone.add(id_)
        if back:
            self.fell(back, now)

    def fell(self, ids: list[str], now: float) -> None:
        self.window = [t for t in self.window if now - t <= PERIOD_S] + [now]
        if len(self.window) > self.intensity:
            self.down = True
        affected: list[str] = []
        match self.strategy:
            case "one_for_all":
                affected = list(self.order)
            case "rest_for_one":
                affected = self.order[min(self.order.index(i) for i in ids) :]
        self.wanted |= set(affected) - self.gone
        for id_ in affected:
            if self.restarts[id_] == "temporary":
                self.wanted.discard(id_)
                self.gone.add(id_)

    def add(self, id_: str, restart: str) -> None:
        self.order.append(id_)
        self.restarts[id_] = restart
        self.wanted.add(id_)
        self.gone.discard(id_)

    def remove(self, id_: str) -> None:
        if id_ in self.order:
            self.order.remove(id_)
        self.wanted.discard(id_)
        self.gone.discard(id_)

    def _comes_back(self, id_: str, reason: str) -> bool:
        kind = self.restarts[id_]
        return kind == "permanent" or (kind == "transient" and reason not in ("normal", "shutdown"))


class SupervisorMachine(RuleBasedStateMachine):
    @initialize(
        strategy=STRATEGIES,
        restarts=st.lists(RESTARTS, min_size=1, max_size=4),
        intensity=st.integers(0, 3),
        backoff=st.booleans(),
    )
    def begin(self, strategy: str, restarts: list[str], intensity: int, backoff: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        self.backoff = Backoff(initial_s=0.5 if backoff else 0.0, jitter=0.0)
        self.children = {f"c{n}": kind for n, kind in enumerate(restarts)}
        specs = tuple(self.child(id_, kind) for id_, kind in self.children.items())
        self.spec = SupervisorSpec(id="s", children=specs, strategy=strategy, intensity=intensity, period_s=PERIOD_S)
        self.state = SupervisorState(self.spec, random.Random(0), Epochs())
        self.world, self.now = World(), 1.0
        self.model = Reference(strategy, intensity, self.children)
        self.dynamic: dict[str, ChildSpec] = {}
        self.asked: dict[str, str] = {}
        self.by_hand: set[str] = set()
        self.tell(StartRequested())

    def child(self, id_: str, restart: str) -> ChildSpec:
        return ChildSpec(id=id_, start=Agent, restart=restart, backoff=self.backoff)

    def tell(self, event: Event) -> None:
        before = self.state.phase
        effects = self.state.handle(event, self.now)
        self.world.obey(effects)
        for effect in effects:
            if isinstance(effect, Removed):
                self.dynamic.pop(effect.id, None)
        if before == "starting":
            self.check_start_order(effects)
        if self.state.phase == "stopping":
            self.check_stop_order(effects)

    def check_start_order(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, StartChild):
                earlier = list(self.children)[: list(self.children).index(effect.id)]
                assert all(id_ in self.world.running for id_ in earlier), "started before an earlier one was up"

    def check_stop_order(self, effects: list[Any]) -> None:
        told = [effect.id for effect in effects if isinstance(effect, StopChild)]
        static = [id_ for id_ in told if id_ in self.children and id_ not in self.by_hand]
        assert len(static) <= 1, "static children stop one by one"
        for id_ in static:
            later = set(list(self.children)[list(self.children).index(id_) + 1 :]) | set(self.dynamic)
            assert not later & set(self.world.running), "stopped before a later one was down"

    # what happens in the world ------------------------------------------------------------------------------------
    @rule(seconds=st.sampled_from([0.0, 0.1, 2.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.world.starts)
    @rule(data=st.data())
    def a_start_succeeds(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.world.starts)))
        epoch = self.world.starts.pop(id_)
        self.world.running[id_] = epoch
        self.tell(ChildStarted(id_, epoch))

    @precondition(lambda self: self.world.starts)
    @rule(data=st.data())
    def a_start_fails(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.world.starts)))
        epoch = self.world.starts.pop(id_)
        self.start_failed(id_)
        self.tell(ChildStartFailed(id_, epoch, "no"))

    def start_failed(self, id_: str) -> None:
        child = self.state.children[id_]
        if self.state.phase == "starting":
            self.model.down = True
        elif child.status == "stopping":
            self.stop_done(id_)
        elif self.state.phase == "running" and child.dynamic and not child.was_up:
            self.model.remove(id_)
        elif self.state.phase == "running":
            self.model.fell([id_], self.now)
            self.forget_gone()

    def stop_done(self, id_: str) -> None:
        if self.asked.pop(id_, "") == "remove" and self.state.phase == "running":
            self.model.remove(id_)

    @precondition(lambda self: self.world.stops)
    @rule(data=st.data())
    def a_stop_is_done(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.world.stops)))
        epoch = self.world.stops.pop(id_)
        del self.world.running[id_]
        self.stop_done(id_)
        self.tell(ChildExited(id_, epoch, "shutdown"))

    @precondition(lambda self: self.world.running)
    @rule(data=st.data(), reason=REASONS)
    def an_agent_ends_by_itself(self, data: st.DataObject, reason: str) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.world.running)))
        self.fall([id_], reason)
        epoch = self.world.running.pop(id_)
        self.world.stops.pop(id_, None)
        self.tell(ChildExited(id_, epoch, reason))
        self.tell(ChildExited(id_, epoch, reason))  # told twice, it counts once

    @precondition(lambda self: self.world.running)
    @rule(data=st.data())
    def a_process_dies_with_several_agents(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.world.running)), unique=True, min_size=1))
        self.fall(ids, "killed")
        lost = tuple(ChildExited(id_, self.world.running.pop(id_), "killed") for id_ in ids)
        for id_ in ids:
            self.world.stops.pop(id_, None)
        self.tell(ChildrenLost(lost))

    def fall(self, ids: list[str], reason: str) -> None:
        expected = [id_ for id_ in ids if id_ in self.world.stops]
        by_itself = [id_ for id_ in ids if id_ not in self.world.stops]
        for id_ in expected:
            self.stop_done(id_)
        if self.state.phase == "starting" and by_itself:
            self.model.down = True
        elif self.state.phase == "running" and by_itself:
            self.model.ended(by_itself, reason, self.now)
            self.forget_gone()

    def forget_gone(self) -> None:
        for id_ in self.model.gone & set(self.dynamic):
            self.model.remove(id_)

    @precondition(lambda self: self.world.retries)
    @rule(data=st.data())
    def a_backoff_is_over(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.world.retries)))
        self.tell(RetryDue(id_, self.world.retries.pop(id_)))

    # what people ask for ------------------------------------------------------------------------------------------
    @precondition(lambda self: self.state.phase == "running" and len(self.state.children) < 8)
    @rule(number=st.integers(0, 5), restart=RESTARTS)
    def a_child_is_added(self, number: int, restart: str) -> None:
        id_ = f"d{number}"
        if id_ in self.state.children:
            return
        self.dynamic[id_] = self.child(id_, restart)
        self.model.add(id_, restart)
        self.tell(ChildrenAdded((self.dynamic[id_],)))

    @precondition(lambda self: self.state.phase == "running" and self.dynamic)
    @rule(data=st.data())
    def a_child_is_removed(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.dynamic)))
        if self.state.children[id_].status in ("starting", "running", "stopping"):
            self.asked[id_] = "remove"
        else:
            self.model.remove(id_)
        self.tell(RemovalRequested(id_))

    @precondition(lambda self: self.state.phase == "running" and self.state.children)
    @rule(data=st.data())
    def a_child_is_restarted_by_hand(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.state.children)))
        if self.state.children[id_].then == "end":
            return  # it goes with its group
        if id_ in self.world.retries:
            del self.world.retries[id_]
        self.asked.pop(id_, None)
        self.model.wanted.add(id_)
        self.model.gone.discard(id_)
        self.by_hand.add(id_)  # it stops in no order
        self.tell(RestartRequested(id_))

    @precondition(lambda self: self.state.phase == "running")
    @rule()
    def the_shell_dies_and_is_rebuilt(self) -> None:
        if self.state._to_stop or self.state._to_start or self.world.stops or self.world.starts:
            return  # orders under way go on in the hosts; that is the runtime's test
        self.state = SupervisorState(self.spec, random.Random(0), Epochs(), self.dynamic.values())
        self.world.retries.clear()
        self.model.window = []
        static_or_kept = list(self.state.children)
        self.model.order = static_or_kept
        missing = [id_ for id_ in static_or_kept if id_ not in self.world.running]
        back = [id_ for id_ in missing if self.model.restarts[id_] != "temporary"]
        self.model.wanted = set(self.world.running) | set(back)
        self.model.gone = set(missing) - set(back)
        self.forget_gone()
        if back:
            self.model.fell(back, self.now)
            self.forget_gone()
        self.tell(StartRequested(dict(self.world.running), recovering=True))

    @precondition(lambda self: self.state.phase in ("starting", "running"))
    @rule(sure=st.integers(0, 9))
    def everything_is_asked_to_stop(self, sure: int) -> None:
        if sure == 0:
            self.model.down = True
            self.tell(StopRequested())

    # what must hold -----------------------------------------------------------------------------------------------
    @invariant()
    def a_supervisor_that_should_be_down_is_going_down(self) -> None:
        if hasattr(self, "model"):
            assert (self.state.phase in ("stopping", "stopped")) == self.model.down

    def teardown(self) -> None:
        """Let all orders come to their end: then exactly those are up that should be."""
        if not hasattr(self, "model"):
            return
        for _ in range(1000):
            if self.world.stops:
                id_ = next(iter(self.world.stops))
                epoch = self.world.stops.pop(id_)
                del self.world.running[id_]
                self.stop_done(id_)
                self.tell(ChildExited(id_, epoch, "shutdown"))
            elif self.world.starts:
                id_, epoch = self.world.starts.popitem()
                self.world.running[id_] = epoch
                self.tell(ChildStarted(id_, epoch))
            elif self.world.retries:
                id_, epoch = self.world.retries.popitem()
                self.tell(RetryDue(id_, epoch))
            else:
                break
        assert set(self.world.running) == (set() if self.model.down else self.model.wanted)
        assert (self.world.stopped is not None) == self.model.down


SupervisorMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestSupervisorAgainstReference = SupervisorMachine.TestCase
