"""A shared variable as an agent: real members, observers, restarts, and workers that take new values between tasks."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from foundation_samples import Heard
from shared_samples import Member, Scaler, Watcher

from dspex_agents import (
    Agent,
    AgentExit,
    AgentFailedError,
    AgentStoppedError,
    ChildSpec,
    Database,
    ManualClock,
    SupervisorSpec,
    System,
    SystemSpec,
    start_local_system,
)
from dspex_agents.errors import DeadlineExceededError, UnknownAgentError
from dspex_agents.state.snapshot_store import SnapshotStore
from dspex_agents.supervision.registry import Query, Registration
from dspex_agents.testing import LoneHost
from dspex_coordination import CoordinationError, Float, Space, VariableError
from dspex_coordination.shared_variables import (
    Average,
    Ballot,
    Consensus,
    GetHistory,
    Join,
    Leader,
    Leave,
    NotLeaderError,
    Observe,
    Policy,
    Proposal,
    ProposalRefusedError,
    Propose,
    ReadValue,
    SharedVariable,
    StaleVersionError,
    TunedTaskAgent,
    Unobserve,
    ValueChanged,
    Versioned,
    Vote,
)

AXIS = Float(0.0, 1.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SnapshotStore]:
    database = Database(str(tmp_path / "store.db"))
    yield SnapshotStore(database, "tests")
    database.close()


class Scene:
    """One shared variable alone on a host where the test answers for everybody else."""

    def __init__(
        self, store: SnapshotStore, policy: Policy, domain: Any = AXIS, epoch: int = 1, **options: Any
    ) -> None:
        self.members: dict[str, Any] = {}
        self.living: set[str] = set()
        self.heard = Heard()
        self.host = LoneHost(ManualClock(1000.0), ask=self._answer, find=self._found)
        self.agent = SharedVariable(domain, policy, store, telemetry=self.heard, **options)
        self.agent.context = self.host.context("heat", epoch)

    async def _answer(self, to: str, body: Any, **_: Any) -> Any:
        answer = self.members[to]
        if isinstance(answer, Exception):
            raise answer
        return answer(body) if callable(answer) else answer

    def _found(self, query: Query) -> Sequence[Registration]:
        return [one for one in map(Registration, sorted(self.living)) if query.fits(one)]

    def run(self, *bodies: Any) -> Any:
        async def life() -> Any:
            await self.agent.on_start()
            answer = None
            for body in bodies:
                answer = await self.agent.on_message(body)
            return answer

        return asyncio.run(life())

    @property
    def told(self) -> list[tuple[str, ValueChanged]]:
        return [(to, body) for to, body, _ in self.host.told if isinstance(body, ValueChanged)]


def three(scene: Scene, *answers: Any) -> list[Join]:
    scene.members = dict(zip("abc", answers, strict=True))
    return [Join(member) for member in "abc"]


# members are asked --------------------------------------------------------------------------------------------------
def test_bug_voters_decide_at_random(store: SnapshotStore) -> None:
    """Every member is asked, by a message that a busy one answers too, and its answer is what counts."""
    epochs = itertools.count(1)
    for answers in itertools.product([True, False], repeat=3):
        scene = Scene(store, Vote(), epoch=next(epochs))
        joins = three(scene, *(Ballot(accept=answer) for answer in answers))
        if sum(answers) >= 2:
            assert scene.run(*joins, Propose("a", 0.7)).value == 0.7
        else:
            with pytest.raises(ProposalRefusedError, match="rejected it"):
                scene.run(*joins, Propose("a", 0.7))
        asked = [(to, body, options["control"]) for to, body, options in scene.host.asked]
        base = scene.agent.state.version - (sum(answers) >= 2)
        assert asked == [(member, Proposal("heat", base, 0.7, "a"), True) for member in "abc"]


def test_a_member_that_is_gone_or_too_late_does_not_hold_a_vote_up(store: SnapshotStore) -> None:
    scene = Scene(store, Vote())
    gone, late = UnknownAgentError("no such agent"), DeadlineExceededError("no answer within 10 s")
    with pytest.raises(ProposalRefusedError, match=r"a accepted; b is gone .*; c gave no answer \(no answer within"):
        scene.run(*three(scene, Ballot(accept=True), gone, late), Propose("a", 0.7))
    assert scene.agent.state.version == 0


def test_consensus_leaves_the_dead_out_and_waits_for_the_living(store: SnapshotStore) -> None:
    dead = Scene(store, Consensus())
    joins = three(dead, Ballot(accept=True), AgentStoppedError("it ended"), Ballot(accept=True))
    assert dead.run(*joins, Propose("a", 0.7)) == Versioned(1, 0.7)
    silent = Scene(store, Consensus(), epoch=2)
    joins = three(silent, Ballot(accept=True), DeadlineExceededError("late"), Ballot(accept=True))
    with pytest.raises(ProposalRefusedError, match="b gave no answer"):
        silent.run(*joins, Propose("a", 0.8))


def test_an_average_asks_for_values_and_trims_them(store: SnapshotStore) -> None:
    scene = Scene(store, Average(trim=0.34))
    joins = three(scene, Ballot(value=0.0), Ballot(value=0.4), Ballot(value=0.9))
    assert scene.run(*joins, Propose("a")) == Versioned(1, pytest.approx(0.4))
    assert all(body.wanted for _, body, _ in scene.host.asked)


def test_an_answer_that_is_no_ballot_is_none(store: SnapshotStore) -> None:
    scene = Scene(store, Vote())
    with pytest.raises(ProposalRefusedError, match=r"c gave no answer \(a Ballot is an answer, str is none\)"):
        scene.run(*three(scene, Ballot(accept=True), Ballot(accept=False), "yes"), Propose("a", 0.7))


def test_who_left_is_not_asked(store: SnapshotStore) -> None:
    scene = Scene(store, Vote())
    joins = three(scene, Ballot(accept=True), Ballot(accept=False), Ballot(accept=False))
    assert scene.run(*joins, Leave("b"), Leave("c"), Propose("a", 0.7)).version == 1


# observers ----------------------------------------------------------------------------------------------------------
def test_observers_are_told_of_each_change_and_of_nothing_else(store: SnapshotStore) -> None:
    scene = Scene(store, Leader("boss"))
    scene.living = {"x", "y"}
    scene.run(Observe("x"), Observe("y"), Observe("x"), Propose("boss", 0.7), Unobserve("y"), Propose("boss", 0.8))
    assert scene.told == [
        ("x", ValueChanged("heat", 1, 0.7)),
        ("y", ValueChanged("heat", 1, 0.7)),
        ("x", ValueChanged("heat", 2, 0.8)),
    ]


def test_an_observer_that_is_gone_is_dropped_with_a_warning_and_an_event(
    store: SnapshotStore, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(store, Leader("boss"))
    scene.living = {"x"}
    with caplog.at_level(logging.WARNING):
        scene.run(Observe("x"), Observe("ghost"), Propose("boss", 0.7))
    assert scene.told == [("x", ValueChanged("heat", 1, 0.7))]
    assert scene.agent.state.observers == ["x"]
    assert "heat drops observers that are gone: ghost" in caplog.text
    (event,) = [event for event in scene.heard.events if event.name == "shared_variable.observer_dropped"]
    assert event.metadata["observers"] == ["ghost"]


def test_a_refused_proposal_changes_and_tells_nothing(store: SnapshotStore) -> None:
    scene = Scene(store, Leader("boss"))
    scene.living = {"x"}
    scene.run(Observe("x"))
    for asked, error in (
        (Propose("clerk", 0.7), NotLeaderError),
        (Propose("boss", 1.7), VariableError),
        (Propose("boss", 0.7, expected=4), StaleVersionError),
    ):
        with pytest.raises(error):
            asyncio.run(scene.agent.on_message(asked))
    assert scene.told == []
    assert scene.agent.state.version == 0


# what survives ------------------------------------------------------------------------------------------------------
def test_value_members_observers_and_history_survive_a_restart(store: SnapshotStore) -> None:
    first = Scene(store, Vote())
    first.living = {"x"}
    first.run(*three(first, *[Ballot(accept=True)] * 3), Observe("x"), Propose("a", 0.7))
    second = Scene(store, Vote(), epoch=2)
    second.living = {"x"}
    second.members = first.members
    assert second.run(ReadValue()) == Versioned(1, 0.7)
    assert second.told == [("x", ValueChanged("heat", 1, 0.7))]  # the last change may have ended with the process
    assert second.run(Propose("b", 0.8, expected=1)) == Versioned(2, 0.8)
    assert [change.by for change in second.run(GetHistory())] == ["a", "b"]


def test_a_late_old_incarnation_cannot_change_the_value(store: SnapshotStore) -> None:
    old = Scene(store, Leader("boss"))
    old.run(Propose("boss", 0.6))
    new = Scene(store, Leader("boss"), epoch=2)
    new.run(Propose("boss", 0.7))
    with pytest.raises(AgentExit, match="fenced off"):
        asyncio.run(old.agent.on_message(Propose("boss", 0.9)))
    assert Scene(store, Leader("boss"), epoch=3).run(ReadValue()) == Versioned(2, 0.7)


def test_a_stored_value_that_the_domain_does_not_hold_any_more_fails_the_start(store: SnapshotStore) -> None:
    Scene(store, Leader("boss")).run(Propose("boss", 0.9))
    with pytest.raises(VariableError, match=r"0\.9 is not allowed"):
        Scene(store, Leader("boss"), Float(0.0, 0.5), epoch=2).run()


def test_a_change_whose_asker_gave_up_is_told_all_the_same(store: SnapshotStore) -> None:
    scene = Scene(store, Leader("boss"))
    scene.living = {"x"}

    async def life() -> None:
        await scene.agent.on_start()
        await scene.agent.on_message(Observe("x"))
        saving, saved = threading.Event(), threading.Event()
        save = store.save

        def slow(*args: Any, **kwargs: Any) -> int:
            saving.set()
            saved.wait(5.0)
            return save(*args, **kwargs)

        store.save = slow  # type: ignore[method-assign] # this store alone is slow
        asking = asyncio.ensure_future(scene.agent.on_message(Propose("boss", 0.7)))
        await asyncio.to_thread(saving.wait, 5.0)
        asking.cancel()
        saved.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await scene.agent.on_stop("shutdown")

    asyncio.run(life())
    assert scene.agent.state.version == 1
    assert scene.told == [("x", ValueChanged("heat", 1, 0.7))]


# in a system --------------------------------------------------------------------------------------------------------
def started(store: SnapshotStore, policy: Policy, *others: ChildSpec, domain: Any = AXIS) -> System:
    variable = ChildSpec(id="heat", start=SharedVariable, kwargs={"domain": domain, "policy": policy, "store": store})
    spec = SystemSpec(name="shared", supervisor=SupervisorSpec(id="top", children=(variable, *others), intensity=20))
    return start_local_system(spec)


def watcher(name: str) -> ChildSpec:
    return ChildSpec(id=name, start=Watcher, kwargs={"observed": ("heat",)}, depends_on=("heat",))


def test_members_of_a_system_vote_and_observers_follow(store: SnapshotStore, wait: Callable[..., None]) -> None:
    members = [ChildSpec(id=f"m{i}", start=Member, kwargs={"most": most}) for i, most in enumerate((0.5, 0.8, 0.9))]
    with started(store, Vote(timeout_s=5.0), *members, watcher("eye")) as system:
        for member in members:
            system.ask("heat", Join(member.id))
        assert system.ask("heat", Propose("m0", 0.8)) == Versioned(1, 0.8)
        wait(lambda: system.ask("eye", "seen") == [(0, 0.5), (1, 0.8)], what="the news")
        with pytest.raises(AgentFailedError) as caught:
            system.ask("heat", Propose("m2", 0.9))
        assert isinstance(caught.value.cause, ProposalRefusedError)
        assert system.ask("heat", ReadValue(), control=True) == Versioned(1, 0.8)
        assert [proposal.value for proposal in system.ask("m0", "asked")] == [0.8, 0.9]


def test_an_observer_that_restarts_knows_the_latest_value(store: SnapshotStore, wait: Callable[..., None]) -> None:
    with started(store, Leader("boss"), watcher("eye")) as system:
        system.ask("heat", Propose("boss", 0.7))
        system.restart_child("eye")
        assert system.ask("eye", "seen")[-1] == (1, 0.7)
        system.ask("heat", Propose("boss", 0.8))
        wait(lambda: system.ask("eye", "seen") == [(1, 0.7), (2, 0.8)], what="the news")


def test_news_that_an_observer_cannot_take_leaves_its_value_and_comes_again(
    store: SnapshotStore, wait: Callable[..., None]
) -> None:
    with started(store, Leader("boss"), watcher("eye")) as system:
        system.ask("heat", Propose("boss", 0.13))
        system.ask("heat", Propose("boss", 0.2))
        wait(lambda: system.ask("eye", "seen") == [(0, 0.5), (2, 0.2)], what="the news after the bad one")


def test_news_that_arrive_together_or_late_are_taken_one_by_one_and_never_backwards() -> None:
    class Slow(Watcher):
        async def on_value(self, changed: ValueChanged) -> None:
            if changed.version == 1:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await super().on_value(changed)

    async def answer(to: str, body: Any, **_: Any) -> Versioned:
        assert (to, body) == ("heat", Observe("eye"))
        return Versioned(0, 0.5)

    async def life() -> list[int]:
        eye = Slow(["heat"])
        eye.context = LoneHost(ask=answer).context("eye")
        await eye.on_start()
        for together in ((1, 2), (4, 3)):
            await asyncio.gather(*(eye.on_message(ValueChanged("heat", version, 0.1)) for version in together))
        return [change.version for change in eye.seen]

    assert asyncio.run(life()) == [0, 1, 2, 4]


def test_a_stopped_observer_is_dropped(store: SnapshotStore) -> None:
    with started(store, Leader("boss"), watcher("eye")) as system:
        system.stop_child("eye")
        system.ask("heat", Propose("boss", 0.7))
        assert system.status("heat").details["observers"] == 0


def test_of_many_that_compare_and_set_at_once_one_wins_each_version(store: SnapshotStore) -> None:
    """Eight add a tenth each, by reading and proposing until their version is the current one: nothing is lost."""
    with started(store, Leader("boss"), domain=Float(0.0, 10.0, default=0.0)) as system:

        async def add() -> None:
            while True:
                now = await system.aask("heat", ReadValue())
                try:
                    await system.aask("heat", Propose("boss", round(now.value + 0.1, 6), expected=now.version))
                except AgentFailedError as error:
                    if not isinstance(error.cause, StaleVersionError):
                        raise
                else:
                    return

        async def all_add() -> None:
            await asyncio.gather(*(add() for _ in range(8)))

        asyncio.run(all_add())
        assert system.ask("heat", ReadValue()) == Versioned(8, pytest.approx(0.8))


# a worker takes new values between tasks ----------------------------------------------------------------------------
SPACE = Space({"factor": Float(0.0, 10.0, default=2.0)})


def scaler(**options: Any) -> ChildSpec:
    kwargs = {"worker": Scaler, "variable": "heat", **options}
    return ChildSpec(id="scaler", start=TunedTaskAgent, kwargs=kwargs, depends_on=("heat",))


def test_a_worker_takes_the_best_configuration_without_a_restart(
    store: SnapshotStore, wait: Callable[..., None]
) -> None:
    with started(store, Leader("sweep"), scaler(), domain=SPACE) as system:
        assert system.ask("scaler", 3.0) == 6.0
        incarnation = system.status("scaler").epoch
        system.ask("heat", Propose("sweep", {"factor": 5.0}))
        wait(lambda: system.status("scaler").details["values"] == {"heat": 1}, what="the new values")
        assert system.ask("scaler", 3.0) == 15.0
        assert system.status("scaler").epoch == incarnation


def test_a_task_that_runs_ends_with_the_values_it_began_with(store: SnapshotStore, wait: Callable[..., None]) -> None:
    with started(store, Leader("sweep"), scaler(concurrency=4), domain=SPACE) as system:

        async def both() -> tuple[Any, Any]:
            slow = asyncio.ensure_future(system.aask("scaler", "slow"))
            await asyncio.to_thread(wait, lambda: system.status("scaler").in_flight == 1, what="the slow task")
            await system.aask("heat", Propose("sweep", {"factor": 5.0}))
            return await slow, await system.aask("scaler", 1.0)

        assert asyncio.run(both()) == (2.0, 5.0)


def test_a_restarted_worker_begins_with_the_latest_values(store: SnapshotStore) -> None:
    with started(store, Leader("sweep"), scaler(), domain=SPACE) as system:
        system.ask("heat", Propose("sweep", {"factor": 5.0}))
        system.restart_child("scaler")
        assert system.ask("scaler", 3.0) == 15.0


def test_a_worker_without_apply_is_refused() -> None:
    class Fixed:
        async def perform(self, payload: Any) -> Any:
            return payload

    with pytest.raises(CoordinationError, match="Fixed cannot take new values"):
        TunedTaskAgent(Fixed, variable="heat")  # type: ignore[arg-type] # what the test is about


def test_an_agent_without_a_say_says_so() -> None:
    with pytest.raises(NotImplementedError, match="has no say in 'heat'"):
        asyncio.run(Watcher(["heat"]).on_control(Proposal("heat", 0, 0.7, "a")))
    assert issubclass(Watcher, Agent)
