"""The supervisor's decisions, as tables and as a random walk against OTP's rules."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.agent import Agent
from dspex_agents.errors import SpecError
from dspex_agents.supervision.child_spec import Backoff, ChildSpec, HostGroup, SupervisorSpec
from dspex_agents.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    Ready,
    RetryDue,
    ScheduleRetry,
    StartChild,
    StartRequested,
    StopChild,
    Stopped,
    StopRequested,
)
from dspex_agents.supervision.supervisor_state import SupervisorState
from dspex_agents.supervision.system_spec import SystemSpec

NO_BACKOFF = Backoff(initial_s=0.0, jitter=0.0)


def supervisor(
    *restarts: str, strategy: str = "one_for_one", intensity: int = 3, backoff: Backoff = NO_BACKOFF
) -> SupervisorState:
    children = tuple(ChildSpec(id=f"c{i}", start=Agent, restart=r, backoff=backoff) for i, r in enumerate(restarts))
    spec = SupervisorSpec(id="s", children=children, strategy=strategy, intensity=intensity, period_s=5.0)
    return SupervisorState(spec, random.Random(0))


def tree(*children: ChildSpec) -> SupervisorSpec:
    return SupervisorSpec(id="s", children=children)


def bring_up(state: SupervisorState, now: float = 1.0) -> None:
    effects = state.handle(StartRequested(), now)
    while effects and isinstance(effects[0], StartChild):
        effects = state.handle(ChildStarted(effects[0].id, effects[0].epoch), now)
    assert state.phase == "running"


def exit_of(state: SupervisorState, id_: str, reason: str) -> ChildExited:
    return ChildExited(id_, state.children[id_].epoch, reason)


def test_children_start_one_after_the_other_from_left_to_right() -> None:
    state = supervisor("permanent", "permanent")
    first = state.handle(StartRequested(), 1.0)
    assert [type(e).__name__ for e in first] == ["StartChild"]
    assert first[0].id == "c0"
    second = state.handle(ChildStarted("c0", first[0].epoch), 1.0)
    assert second[0].id == "c1"
    assert state.handle(ChildStarted("c1", second[0].epoch), 1.0) == [Ready()]


def test_children_stop_from_right_to_left_and_then_the_supervisor() -> None:
    state = supervisor("permanent", "permanent")
    bring_up(state)
    stop = state.handle(StopRequested(), 2.0)
    assert stop == [StopChild("c1", state.children["c1"].epoch, 5.0)]
    stop = state.handle(exit_of(state, "c1", "shutdown"), 2.0)
    assert stop == [StopChild("c0", state.children["c0"].epoch, 5.0)]
    assert state.handle(exit_of(state, "c0", "shutdown"), 2.0) == [Stopped("shutdown")]


@pytest.mark.parametrize(
    ("restart", "reason", "restarted"),
    [
        ("permanent", "crash", True),
        ("permanent", "normal", True),
        ("permanent", "shutdown", True),
        ("transient", "crash", True),
        ("transient", "normal", False),
        ("transient", "shutdown", False),
        ("temporary", "crash", False),
        ("temporary", "normal", False),
    ],
)
def test_the_restart_kind_and_the_reason_decide_as_in_otp(restart: str, reason: str, *, restarted: bool) -> None:
    state = supervisor(restart)
    bring_up(state)
    effects = state.handle(exit_of(state, "c0", reason), 2.0)
    assert bool(effects) is restarted


def test_a_restarted_child_gets_a_higher_epoch_and_the_old_one_is_ignored_from_then_on() -> None:
    state = supervisor("permanent")
    bring_up(state)
    old = state.children["c0"].epoch
    (start,) = state.handle(exit_of(state, "c0", "crash"), 2.0)
    assert start.epoch > old
    assert state.handle(ChildExited("c0", old, "crash"), 2.0) == []


def test_more_restarts_than_the_intensity_within_the_period_end_the_supervisor() -> None:
    state = supervisor("permanent", intensity=2)
    bring_up(state)
    for now in (2.0, 3.0):
        (start,) = state.handle(exit_of(state, "c0", "crash"), now)
        state.handle(ChildStarted("c0", start.epoch), now)
    (stopped,) = state.handle(exit_of(state, "c0", "crash"), 4.0)
    assert isinstance(stopped, Stopped)
    assert "intensity" in stopped.reason


def test_restarts_outside_the_period_are_forgotten() -> None:
    state = supervisor("permanent", intensity=1)
    bring_up(state)
    for now in (2.0, 8.0, 14.0, 20.0):
        (start,) = state.handle(exit_of(state, "c0", "crash"), now)
        assert isinstance(start, StartChild)
        state.handle(ChildStarted("c0", start.epoch), now)


def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() -> None:
    state = supervisor("permanent", "permanent", "permanent", strategy="one_for_all")
    bring_up(state)
    log = drain(state, exit_of(state, "c1", "crash"))
    assert log == ["stop c2", "stop c0", "start c0", "start c1", "start c2"]


def test_rest_for_one_leaves_the_children_before_the_dead_one_alone() -> None:
    state = supervisor("permanent", "permanent", "permanent", strategy="rest_for_one")
    bring_up(state)
    assert drain(state, exit_of(state, "c1", "crash")) == ["stop c2", "start c1", "start c2"]


def drain(state: SupervisorState, event: object, now: float = 2.0) -> list[str]:
    log, effects = [], state.handle(event, now)
    while effects:
        effect = effects.pop(0)
        match effect:
            case StartChild(id_, epoch):
                log.append(f"start {id_}")
                effects += state.handle(ChildStarted(id_, epoch), now)
            case StopChild(id_, epoch, _):
                log.append(f"stop {id_}")
                effects += state.handle(ChildExited(id_, epoch, "shutdown"), now)
            case _:
                log.append(type(effect).__name__)
    return log


def test_a_first_start_that_fails_rolls_back_what_was_started() -> None:
    state = supervisor("permanent", "permanent")
    (start,) = state.handle(StartRequested(), 1.0)
    (start,) = state.handle(ChildStarted("c0", start.epoch), 1.0)
    (stop,) = state.handle(ChildStartFailed("c1", start.epoch, "no licence"), 1.0)
    assert (stop.id, type(stop)) == ("c0", StopChild)
    (stopped,) = state.handle(exit_of(state, "c0", "shutdown"), 1.0)
    assert "no licence" in stopped.reason


def test_a_restart_that_fails_is_tried_again_after_a_growing_delay() -> None:
    state = supervisor("permanent", backoff=Backoff(initial_s=1.0, factor=2.0, jitter=0.0), intensity=5)
    bring_up(state)
    (start,) = state.handle(exit_of(state, "c0", "crash"), 2.0)
    (retry,) = state.handle(ChildStartFailed("c0", start.epoch, "still down"), 2.0)
    assert retry == ScheduleRetry("c0", start.epoch, 1.0)
    (start,) = state.handle(RetryDue("c0", start.epoch), 3.0)
    (retry,) = state.handle(ChildStartFailed("c0", start.epoch, "still down"), 3.0)
    assert retry.delay_s == 2.0


def test_a_stop_during_the_backoff_starts_nothing_any_more() -> None:
    state = supervisor("permanent", backoff=Backoff(initial_s=1.0, jitter=0.0))
    bring_up(state)
    (start,) = state.handle(exit_of(state, "c0", "crash"), 2.0)
    state.handle(ChildStartFailed("c0", start.epoch, "down"), 2.0)
    assert state.handle(StopRequested(), 2.5) == [Stopped("shutdown")]
    assert state.handle(RetryDue("c0", start.epoch), 3.0) == []


def test_adopted_children_are_not_started_again() -> None:
    state = supervisor("permanent", "permanent")
    ready, start = state.handle(StartRequested({"c0": 77}, recovering=True), 1.0)
    assert ready == Ready()
    assert start.id == "c1"
    assert state.children["c0"].epoch == 77


def test_backoff_grows_to_its_cap_and_spreads_by_its_jitter() -> None:
    backoff = Backoff(initial_s=1.0, factor=2.0, max_s=5.0, jitter=0.5)
    rng = random.Random(1)
    assert backoff.delay_s(1, rng) == 0.0
    for restarts, plain in ((2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (500, 5.0)):
        assert plain * 0.5 <= backoff.delay_s(restarts, rng) <= plain * 1.5


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: ChildSpec(id="a b", start=Agent), "id"),
        (lambda: ChildSpec(id="a", start=Agent, restart="always"), "restart"),
        (lambda: ChildSpec(id="a", start=Agent, isolation="vm"), "isolation"),
        (lambda: ChildSpec(id="a", start=Agent, shutdown_s=-1), "shutdown_s"),
        (lambda: ChildSpec(id="a", start="Agent"), "start"),
        (lambda: SupervisorSpec(id="s", strategy="one_for_none"), "strategy"),
        (lambda: SupervisorSpec(id="s", intensity=-1), "intensity"),
        (lambda: SupervisorSpec(id="s", period_s=float("nan")), "period_s"),
        (lambda: ChildSpec(id="a", start=Agent, stall_s=0), "stall_s"),
        (lambda: ChildSpec(id="a", start=Agent, resources={"CPU": 1}), "isolation='own'"),
        (lambda: ChildSpec(id="a", start=Agent, isolation="own", resources={"CPU": -1}), r"resources\['CPU'\]"),
        (lambda: ChildSpec(id="a", start=Agent, significant=True), "cannot be significant"),
        (lambda: tree(ChildSpec(id="a", start=Agent, restart="transient", significant=True)), "auto_shutdown"),
        (lambda: SupervisorSpec(id="s", auto_shutdown="always"), "auto_shutdown"),
        (lambda: SupervisorSpec(id="s", max_children=0), "max_children"),
        (lambda: tree(ChildSpec(id="a", start=Agent, depends_on=("x",))), "depends on x, not among its siblings"),
        (
            lambda: tree(*(ChildSpec(id=a, start=Agent, depends_on=(b,)) for a, b in ("ab", "bc", "ca"))),
            r"in a circle: \w -> \w -> \w -> \w",
        ),
        (lambda: HostGroup(name="pool", most_agents=0), "most_agents"),
        (lambda: SystemSpec(name="a/b", supervisor=tree()), "id must be"),
        (lambda: SystemSpec(name="a", supervisor=tree(), heartbeat_s=5, hang_s=5), "heartbeat_s"),
        (lambda: SystemSpec(name="a", supervisor=tree(), hosts=(HostGroup(name="p"), HostGroup(name="p"))), "twice: p"),
        (lambda: Backoff(factor=0.5), "factor"),
        (lambda: Backoff(jitter=1.0), "jitter"),
    ],
)
def test_a_bad_field_of_a_specification_is_named(build: Callable[[], object], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        build()


def test_an_id_that_occurs_twice_in_a_tree_is_refused() -> None:
    inner = SupervisorSpec(id="inner", children=(ChildSpec(id="same", start=Agent),))
    with pytest.raises(SpecError, match="same"):
        SupervisorSpec(id="s", children=(ChildSpec(id="same", start=Agent), inner)).agents()


@given(
    strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
    restarts=st.lists(st.sampled_from(["permanent", "transient", "temporary"]), min_size=1, max_size=4),
    choices=st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["ok", "fail", "crash", "normal"])), max_size=60),
    stop_at=st.integers(0, 60),
)
def test_whatever_happens_a_supervisor_never_runs_a_child_twice_and_always_stops(
    strategy: str, restarts: list[str], choices: list[tuple[int, str]], stop_at: int
) -> None:
    state = supervisor(*restarts, strategy=strategy, backoff=Backoff(initial_s=0.5))
    world = World(state)
    world.take(state.handle(StartRequested(), 0.0))
    for step, (pick, what) in enumerate(choices):
        if step == stop_at:
            world.take(state.handle(StopRequested(), float(step)))
        world.step(pick, what, float(step))
    world.take(state.handle(StopRequested(), 100.0))
    while world.open:
        world.step(0, "ok", 101.0)
    assert world.stopped
    assert not world.alive


class World:
    """Carries out effects in any order and checks them: what is started was not alive, what is stopped was known."""

    def __init__(self, state: SupervisorState) -> None:
        self.state, self.open, self.alive, self.stopped = state, [], {}, False

    def take(self, effects: list) -> None:
        for effect in effects:
            match effect:
                case StartChild(id_, epoch):
                    assert id_ not in self.alive, "started while alive"
                    assert not any(isinstance(e, StartChild) and e.id == id_ for e in self.open)
                    self.alive[id_] = epoch
                    self.open.append(effect)
                case Stopped():
                    assert not self.stopped
                    self.stopped = True
                case Ready():
                    pass
                case _:
                    self.open.append(effect)

    def step(self, pick: int, what: str, now: float) -> None:
        if self.open and what in ("ok", "fail"):
            effect = self.open.pop(pick % len(self.open))
            self.take(self.state.handle(self._report(effect, what), now))
        elif self.alive and what in ("crash", "normal"):
            started = [e.id for e in self.open if isinstance(e, StartChild)]
            ids = [i for i in sorted(self.alive) if i not in started]
            if ids:
                id_ = ids[pick % len(ids)]
                self.open = [e for e in self.open if not (isinstance(e, StopChild) and e.id == id_)]
                self.take(self.state.handle(ChildExited(id_, self.alive.pop(id_), what), now))

    def _report(self, effect: object, what: str) -> object:
        match effect:
            case StartChild(id_, epoch) if what == "ok":
                return ChildStarted(id_, epoch)
            case StartChild(id_, epoch):
                self.alive.pop(id_)
                return ChildStartFailed(id_, epoch, "failed")
            case StopChild(id_, epoch, _):
                self.alive.pop(id_, None)
                return ChildExited(id_, epoch, "shutdown")
            case ScheduleRetry(id_, epoch, _):
                return RetryDue(id_, epoch)
        raise AssertionError(effect)
