"""The schedule agent: ticks to live agents, gone with them for good, and kept in the database."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dspex_agents import ChildSpec, Database, ManualClock, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.agent import Agent, AgentExit, TreeNode
from dspex_agents.errors import (
    AgentFailedError,
    DeadlineExceededError,
    SpecError,
    StoreError,
    SystemStoppedError,
    UnknownAgentError,
)
from dspex_agents.messaging.message import GetStatus
from dspex_agents.services.schedule import Schedule, ScheduleState
from dspex_agents.services.schedule_agent import (
    CancelSchedule,
    FireNow,
    GetSchedules,
    RegisterSchedule,
    ScheduleAgent,
    UpdateInterval,
)
from dspex_agents.services.service_agent import TickNow
from dspex_agents.supervision.registry import Registration
from dspex_agents.testing import LoneHost

Start = Callable[..., System]


class Worker(Agent):
    """Notes what it is sent; "fail" raises, "ask nobody" asks an agent that does not exist, "end" ends it."""

    def __init__(self, inbox: queue.Queue[Any]) -> None:
        self._inbox = inbox

    async def on_message(self, body: Any) -> Any:
        self._inbox.put(body)
        match body:
            case "fail":
                raise ValueError("not today")
            case "ask nobody":
                return await self.context.ask("nobody", "hello")
            case "end":
                raise AgentExit("tired")
        return f"{self.context.name} got {body}"


@pytest.fixture
def inbox() -> queue.Queue[Any]:
    return queue.Queue()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def start(inbox: queue.Queue[Any], clock: ManualClock) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*, real_time: bool = False, **kwargs: Any) -> System:
            children = (
                ChildSpec(id="schedules", start=ScheduleAgent, kwargs=kwargs, isolation="own"),
                ChildSpec(id="worker", start=Worker, kwargs={"inbox": inbox}),
                ChildSpec(id="once", start=Worker, kwargs={"inbox": inbox}, restart="temporary"),
            )
            spec = SystemSpec(name="timed", supervisor=SupervisorSpec(id="top", children=children, intensity=10))
            return stack.enter_context(start_local_system(spec, clock=None if real_time else clock))

        yield begin


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "schedules.db"))


def register(system: System, owner: str = "worker", **fields: Any) -> ScheduleState:
    fields = {"id": "s", "every_s": 10.0, "message": "go", **fields}
    state: ScheduleState = system.ask("schedules", RegisterSchedule(Schedule(owner=owner, **fields)))
    return state


def state_of(system: System, owner: str = "worker") -> ScheduleState | None:
    found = system.ask("schedules", GetSchedules(owner), control=True)
    return found[0] if found else None


def figures(system: System) -> dict[str, Any]:
    return dict(system.status("schedules").details)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other tasks take a turn each time
            await asyncio.sleep(0)


def tick(system: System, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    system.ask("schedules", TickNow())


def test_an_owner_gets_its_message_when_it_is_due(start: Start, clock: ManualClock, inbox: Any, wait: Any) -> None:
    system = start()
    assert register(system).due_at == 1010.0
    tick(system, clock, 9.0)
    assert figures(system)["under_way"] == 0
    tick(system, clock, 1.0)
    assert inbox.get(timeout=20) == "go"
    wait(lambda: figures(system)["done"] == 1, what="the first tick is done")
    tick(system, clock, 35.0)
    assert inbox.get(timeout=20) == "go"
    wait(lambda: figures(system)["done"] == 2, what="the second tick is done")
    shown = figures(system)
    assert (shown["missed"], shown["failed"], shown["next_at"], shown["schedules"]) == (2, 0, 1050.0, 1)


def test_schedules_run_by_themselves_in_real_time(start: Start, inbox: Any) -> None:
    system = start(real_time=True)
    register(system, every_s=0.05, jitter_s=0.01)
    register(system, id="cron", cron="* * * * * *", every_s=None, message="second")
    got = {inbox.get(timeout=20) for _ in range(100)}
    assert got == {"go", "second"}


def test_a_failure_is_counted_and_shown_and_the_schedule_goes_on(start: Start, clock: ManualClock, wait: Any) -> None:
    system = start()
    register(system, message="fail")
    for n in (1, 2):
        tick(system, clock, 10.0)
        wait(lambda n=n: figures(system)["failed"] == n, what="the failure is counted")
    state = state_of(system)
    assert state is not None
    assert (state.failed, state.under_way) == (2, 0)
    assert "ValueError: not today" in state.last_error
    assert "worker/s: AgentFailedError" in figures(system)["last_error"]


def test_an_interval_is_changed_a_schedule_fired_cancelled_and_listed(start: Start, inbox: Any) -> None:
    system = start()
    register(system)
    register(system, owner="once")
    assert system.ask("schedules", UpdateInterval("worker", "s", 3.0)).due_at == 1003.0
    assert system.ask("schedules", FireNow("worker", "s")) == "worker got go"
    assert inbox.get(timeout=20) == "go"
    listed = [(state.schedule.owner, state.done) for state in system.ask("schedules", GetSchedules())]
    assert listed == [("once", 0), ("worker", 1)]
    assert system.ask("schedules", CancelSchedule("worker", "s"))
    assert not system.ask("schedules", CancelSchedule("worker", "s"))
    assert state_of(system) is None


def test_a_schedule_fired_by_hand_gives_the_owners_error(start: Start) -> None:
    system = start()
    register(system, message="fail")
    with pytest.raises(AgentFailedError, match="ValueError: not today"):
        system.ask("schedules", FireNow("worker", "s"))


def test_a_restarted_owner_keeps_its_schedules(start: Start, clock: ManualClock, inbox: Any, wait: Any) -> None:
    system = start()
    register(system, message="end")
    for n in (1, 2):
        tick(system, clock, 10.0)
        wait(lambda n=n: figures(system)["failed"] == n, what="its end is counted as a failure")
    assert state_of(system) is not None
    assert figures(system)["orphaned"] == 0


def test_schedules_of_an_agent_that_is_gone_for_good_are_removed(start: Start, clock: ManualClock, wait: Any) -> None:
    system = start(check_s=1e6)
    register(system, owner="once", message="end")
    register(system)
    tick(system, clock, 10.0)  # ends it: temporary, so for ever
    wait(lambda: figures(system)["failed"] == 1, what="its end is counted as a failure")
    tick(system, clock, 10.0)
    wait(lambda: figures(system)["orphaned"] == 1, what="its schedule is removed")
    assert state_of(system, "once") is None
    assert state_of(system) is not None


def test_schedules_of_an_unknown_agent_are_removed_at_the_first_tick(
    start: Start, clock: ManualClock, wait: Any
) -> None:
    system = start(check_s=1e6)
    register(system, owner="nobody")
    tick(system, clock, 10.0)
    wait(lambda: figures(system)["orphaned"] == 1, what="the schedule is removed")


def test_a_rare_schedule_does_not_outlive_its_owner_for_long(start: Start, clock: ManualClock, wait: Any) -> None:
    system = start(check_s=60.0)
    register(system, owner="once", every_s=1e6)
    register(system, every_s=1e6)
    system.stop_child("once")
    tick(system, clock, 60.0)
    wait(lambda: figures(system)["orphaned"] == 1, what="its schedule is removed")
    assert state_of(system) is not None


def test_an_owner_that_asks_an_unknown_agent_is_not_taken_for_gone(start: Start, clock: ManualClock, wait: Any) -> None:
    system = start(check_s=1e6)
    register(system, message="ask nobody")
    tick(system, clock, 10.0)
    wait(lambda: figures(system)["failed"] == 1, what="the failure is counted")
    tick(system, clock, 10.0)
    wait(lambda: figures(system)["failed"] == 2, what="it is sent again the next time")
    assert figures(system)["orphaned"] == 0


# in the database ------------------------------------------------------------------------------------------------------
def test_schedules_outlive_the_process(
    start: Start, clock: ManualClock, inbox: Any, database: Database, wait: Any
) -> None:
    system = start(database=database)
    register(system, message={"report": ["daily", 1.5, None, True]}, first_after_s=5.0)
    register(system, id="cancelled")
    system.ask("schedules", CancelSchedule("worker", "cancelled"))
    tick(system, clock, 5.0)
    wait(lambda: figures(system)["done"] == 1, what="the first tick is done")
    before = state_of(system)
    system.kill_child("schedules")
    assert state_of(system) == before
    tick(system, clock, 10.0)
    assert [inbox.get(timeout=20) for _ in range(2)] == [{"report": ["daily", 1.5, None, True]}] * 2


def test_a_tick_cut_off_by_the_end_of_the_agent_is_sent_again_under_its_key(database: Database) -> None:
    async def scene() -> None:
        clock = ManualClock(1000.0)
        keys: list[str] = []
        never = asyncio.Event()

        async def ask(to: str, body: Any, **options: Any) -> Any:
            if to == "worker":
                keys.append(options["key"])
                await never.wait()
            return 1.0

        async def live() -> ScheduleAgent:
            agent = ScheduleAgent(database)
            agent.context = LoneHost(clock, ask=ask).context("schedules")
            await agent.on_start()
            return agent

        agent = await live()
        await agent.on_message(RegisterSchedule(Schedule(owner="worker", id="s", every_s=10.0)))
        clock.advance(12.0)
        await agent.on_message(TickNow())
        await until(lambda: len(keys) == 1)
        await agent.on_stop("shutdown")
        agent = await live()
        await agent.on_message(TickNow())
        await until(lambda: len(keys) == 2)
        assert keys == ["worker/s@1010.0"] * 2
        assert agent.details()["failed"] == 0
        await agent.on_stop("shutdown")

    asyncio.run(scene())


@pytest.mark.parametrize("message", [("a", "tuple"), {"set": {1}}, {1: "key"}, float("nan"), GetStatus()])
def test_a_message_that_is_not_json_is_refused_by_a_durable_agent(
    start: Start, database: Database, message: Any
) -> None:
    system = start(database=database)
    with pytest.raises(AgentFailedError, match=r"message.* Only JSON is kept in a database \(never pickles\)"):
        register(system, message=message)
    assert state_of(system) is None


def test_without_a_database_a_message_may_be_anything(start: Start, inbox: Any) -> None:
    system = start()
    register(system, message=("a", "tuple"))
    system.ask("schedules", FireNow("worker", "s"))
    assert inbox.get(timeout=20) == ("a", "tuple")


def test_a_database_that_fails_ends_the_agent_so_that_both_agree(database: Database) -> None:
    async def scene() -> None:
        agent = ScheduleAgent(database)
        told: list[Any] = []

        async def ask(to: str, body: Any, **options: Any) -> Any:
            told.append(body)
            return 3600.0

        agent.context = LoneHost(ManualClock(), ask=ask).context("schedules")
        await agent.on_start()

        def broken(state: ScheduleState) -> None:
            raise StoreError("the disk is full")

        agent._store.save = broken  # type: ignore[method-assign]
        with pytest.raises(StoreError, match="the disk is full"):
            await agent.on_message(RegisterSchedule(Schedule(owner="worker", id="s", every_s=10.0)))
        await until(lambda: any(not isinstance(body, TickNow) for body in told))
        end = next(body for body in told if not isinstance(body, TickNow))
        with pytest.raises(AgentExit, match="StoreError: the disk is full"):
            await agent.on_message(end)

    asyncio.run(scene())


# what "gone" means, to the letter -------------------------------------------------------------------------------------
RUNNING = TreeNode("top", "supervisor", "running", children=(TreeNode("other", "agent", "running"),))
REMOVED = TreeNode("top", "supervisor", "running", children=(TreeNode("worker", "agent", "removed"),))
STOPPING = TreeNode("top", "supervisor", "stopping")


@pytest.mark.parametrize(
    ("answer", "tree", "orphaned"),
    [
        (None, RUNNING, 0),
        (UnknownAgentError("nobody"), RUNNING, 1),
        (SystemStoppedError("it will not be"), RUNNING, 1),
        (SystemStoppedError("it will not be"), REMOVED, 1),
        (SystemStoppedError("all stop"), STOPPING, 0),  # the schedules are for the next life of the system
        (SystemStoppedError("all stop"), SystemStoppedError("the root too"), 0),
        (DeadlineExceededError("being restarted"), RUNNING, 0),
    ],
)
def test_only_an_agent_that_will_not_come_back_is_gone(answer: Any, tree: Any, orphaned: int) -> None:
    async def ask(to: str, body: Any, **options: Any) -> Any:
        if to == "worker" and isinstance(answer, Exception):
            raise answer
        return 1.0

    async def look() -> TreeNode:
        if isinstance(tree, Exception):
            raise tree
        found: TreeNode = tree
        return found

    async def scene() -> None:
        agent = ScheduleAgent(check_s=10.0)
        clock = ManualClock()
        agent.context = LoneHost(clock, ask=ask, tree=look, find=lambda _: (Registration("other"),)).context(
            "schedules"
        )
        await agent.on_start()
        await agent.on_message(RegisterSchedule(Schedule(owner="worker", id="s", every_s=1e6)))
        clock.advance(10.0)
        await agent.on_message(TickNow())
        await until(lambda: agent._check_at != float("inf"))
        assert agent.details()["orphaned"] == orphaned
        assert agent.details()["schedules"] == 1 - orphaned
        await agent.on_stop("shutdown")

    asyncio.run(scene())


def test_nobody_is_taken_for_gone_while_the_registry_does_not_answer() -> None:
    def find(query: Any) -> Any:
        raise TimeoutError("the root is being restarted")

    async def scene() -> None:
        agent = ScheduleAgent(check_s=10.0)
        clock = ManualClock()
        agent.context = LoneHost(clock, find=find).context("schedules")
        await agent.on_message(RegisterSchedule(Schedule(owner="worker", id="s", every_s=1e6)))
        clock.advance(10.0)
        await agent.on_message(TickNow())
        await until(lambda: agent._check_at != float("inf"))
        details = agent.details()
        assert (details["orphaned"], details["failed_checks"]) == (0, 1)
        assert details["last_error"] == "TimeoutError: the root is being restarted"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (UpdateInterval("worker", "x", 1.0), "No schedule 'x' of agent 'worker'. It has: s"),
        (FireNow("nobody", "s"), "No schedule 's' of agent 'nobody'. It has: none"),
        (UpdateInterval("worker", "s", 0.0), "every_s must be a positive number"),
        ("hello", "ScheduleAgent takes no message of type str"),
    ],
)
def test_a_bad_message_is_named(start: Start, message: Any, told: str) -> None:
    system = start()
    register(system)
    with pytest.raises(AgentFailedError, match=told):
        system.ask("schedules", message)


def test_a_bad_setting_is_named() -> None:
    with pytest.raises(SpecError, match="check_s must be a positive number"):
        ScheduleAgent(check_s=0)
