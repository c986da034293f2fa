"""Driving one plan: who does the work, what is tried again, and how it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from dspex_agents import (
    AgentFailedError,
    CountingIds,
    DeadlineExceededError,
    ManualClock,
    Outcome,
    SystemStoppedError,
    UnknownAgentError,
    Work,
)
from dspex_agents.messaging.message import Cancel
from dspex_agents.roles.plan_run import PlanRun, PlanStalledError
from dspex_agents.signals.signal_messages import Publish
from dspex_agents.supervision.registry import Query, Registration
from dspex_agents.teamwork.announcer import Announcer
from dspex_agents.teamwork.member_pool import MemberPool, NoCapableMemberError
from dspex_agents.teamwork.team import Team, WorkSettings
from dspex_agents.testing import LoneHost

Answer = Callable[[str, Any, str], Awaitable[Any]]
Act = Callable[["Rig"], Awaitable[None]]


class Once:
    """Hands each payload out once, again after an infrastructure failure while `again` lasts; keeps every outcome."""

    def __init__(self, *payloads: Any, again: int = 0) -> None:
        self.todo = [Work(str(number), payload) for number, payload in enumerate(payloads)]
        self.left, self.again = len(payloads), again
        self.outcomes: list[Outcome] = []
        self.calls: list[str] = []
        self.cancelled = False

    def open(self) -> None:
        self.calls.append("open")

    def pull(self, limit: int, now: float) -> Sequence[Work]:
        batch, self.todo = self.todo[:limit], self.todo[limit:]
        return batch

    def push(self, outcomes: Sequence[Outcome], now: float) -> None:
        for outcome in outcomes:
            self.outcomes.append(outcome)
            if outcome.error is not None and outcome.error.kind == "infrastructure" and self.again:
                self.again -= 1
                self.todo.append(Work(outcome.work_id, "again"))
            else:
                self.left -= 1

    def finished(self) -> bool:
        return self.cancelled or self.left == 0

    def result(self) -> Any:
        self.calls.append("result")
        return [outcome.value for outcome in self.outcomes]

    def progress(self) -> Mapping[str, Any]:
        return {"left": self.left}

    def cancel(self, reason: str) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.calls.append("close")


class Rig:
    """One run over members that a test plays. `registry` is who is found; the clock stands unless it is moved."""

    def __init__(self, plan: Any, answer: Answer | None, *, sleep: Any = None, **settings: Any) -> None:
        self.plan, self.clock, self.registry = plan, ManualClock(5.0), list[Registration]()
        self.keys: list[str] = []
        self.cancelled_at: list[tuple[str, str]] = []

        async def ask(to: str, body: Any, **options: Any) -> Any:
            if isinstance(body, Cancel):
                self.cancelled_at.append((to, body.message_id))
                return True
            self.timeouts.append(options["timeout_s"])
            return await answer(to, body, options["key"])

        self.timeouts: list[float] = []
        self.host = LoneHost(self.clock, ask=ask, find=lambda query: [r for r in self.registry if query.fits(r)])
        context = self.host.context("coordinator")
        work = WorkSettings(**{"room": 2, "attempts": 3, "timeout_s": 9.0, **settings})
        announcer = Announcer(context, "bus", CountingIds())
        self.ticks: asyncio.Queue[None] = asyncio.Queue()
        pool = MemberPool(work, random.Random(0))
        self.run = PlanRun("r", context, pool, work, announcer, sleep or self.tick)

    async def tick(self, _seconds: float) -> None:
        """Stand in for sleeping: the run looks around when the test says so."""
        await self.ticks.get()

    def announced(self) -> list[str]:
        return [body.signal.type.rsplit(".", 1)[1] for _, body, _ in self.host.told if isinstance(body, Publish)]

    def drive(self, team: Team, *acts: Act) -> Any:
        async def scenario() -> Any:
            async with asyncio.timeout(10):
                running = asyncio.ensure_future(self.run.drive(lambda: self.plan, team))
                for act in acts:
                    await act(self)
                return await running

        return asyncio.run(scenario())


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds (the surrounding timeout is the deadline)."""
    while not condition():  # noqa: ASYNC110 - the condition is plain state of the object under test
        await asyncio.sleep(0.001)


def drive(plan: Any, answer: Answer, *, members: Sequence[str] = ("a", "b"), room: int = 2, attempts: int = 3) -> Any:
    return Rig(plan, answer, room=room, attempts=attempts).drive(Team(tuple(members)))


def failed(*, retryable: bool) -> AgentFailedError:
    cause = ValueError("no")
    cause.retryable = retryable
    return AgentFailedError("it failed", "ValueError", "no", cause)


class TestDriving:
    def test_a_plan_is_opened_finished_and_closed_in_that_order(self) -> None:
        async def echo(to: str, body: Any, key: str) -> Any:
            return body

        plan = Once(1, 2, 3)
        assert sorted(drive(plan, echo)) == [1, 2, 3]
        assert plan.calls == ["open", "result", "close"]

    def test_no_member_has_more_units_than_there_is_room(self) -> None:
        busy, most = {"a": 0, "b": 0}, {"a": 0, "b": 0}

        async def work(to: str, body: Any, key: str) -> Any:
            busy[to] += 1
            most[to] = max(most[to], busy[to])
            await asyncio.sleep(0)
            busy[to] -= 1

        drive(Once(*range(40)), work, room=3)
        assert most == {"a": 3, "b": 3}

    def test_a_slow_unit_holds_up_nothing_but_itself(self) -> None:
        done: list[Any] = []
        release: list[asyncio.Event] = []

        async def work(to: str, body: Any, key: str) -> Any:
            if body == "slow":
                release.append(asyncio.Event())
                await release[0].wait()
            done.append(body)
            if len(done) == 20:
                release[0].set()

        drive(Once("slow", *range(20)), work, room=1)
        assert done[-1] == "slow"

    def test_a_plan_that_offers_no_work_and_is_not_finished_has_stalled(self) -> None:
        plan = Once()
        plan.left = 1
        with pytest.raises(PlanStalledError, match="Plan 'r' is not finished but offers no work"):
            drive(plan, None)
        assert plan.calls == ["open", "close"]

    def test_a_plan_that_finds_out_in_pull_that_it_is_done_has_not_stalled(self) -> None:
        class Cancelled(Once):
            def pull(self, limit: int, now: float) -> Sequence[Work]:
                self.cancelled = True
                return []

        assert drive(Cancelled(1), None) == []

    @pytest.mark.parametrize("method", ["open", "pull", "push", "result", "progress"])
    def test_what_a_plans_method_raises_ends_the_plan_which_is_closed(self, method: str) -> None:
        async def echo(to: str, body: Any, key: str) -> Any:
            return body

        def broken(*_: Any) -> Any:
            raise OSError("disk full")

        plan = Once(1)
        setattr(plan, method, broken)
        with pytest.raises(OSError, match="disk full"):
            drive(plan, echo)
        assert plan.calls[-1] == "close"


class TestTryingAgain:
    def test_a_unit_lost_with_its_member_is_done_by_another(self) -> None:
        asked: list[str] = []

        async def work(to: str, body: Any, key: str) -> Any:
            asked.append(to)
            if len(asked) == 1:
                raise DeadlineExceededError("gone")
            return "done"

        plan = Once(1)
        assert drive(plan, work) == ["done"]
        assert asked == ["a", "b"]
        assert plan.outcomes[0].worker == "b"

    def test_a_unit_of_a_member_that_will_never_return_is_done_by_another(self) -> None:
        async def work(to: str, body: Any, key: str) -> Any:
            if to == "a":
                raise SystemStoppedError("agent 'a' is not running and will not be")
            return to

        assert drive(Once(1, 2, 3), work) == ["b", "b", "b"]

    def test_the_programs_own_failure_is_not_tried_again(self) -> None:
        keys: list[str] = []

        async def work(to: str, body: Any, key: str) -> Any:
            keys.append(key)
            raise failed(retryable=False)

        plan = Once(1)
        drive(plan, work)
        assert keys == ["r:0:1"]
        error = plan.outcomes[0].error
        assert (error.kind, error.type, error.message, error.retryable) == ("program", "ValueError", "no", False)

    def test_exhausted_attempts_are_an_infrastructure_failure(self) -> None:
        async def work(to: str, body: Any, key: str) -> Any:
            raise failed(retryable=True)

        plan = Once(1)
        drive(plan, work, attempts=2)
        assert (plan.outcomes[0].error.kind, plan.outcomes[0].error.retryable) == ("infrastructure", True)

    def test_a_unit_handed_out_again_is_never_answered_with_its_old_failure(self) -> None:
        keys: list[str] = []

        async def work(to: str, body: Any, key: str) -> Any:
            keys.append(key)
            if body != "again":
                raise failed(retryable=True)
            return "done"

        assert drive(Once(1, again=1), work, attempts=2)[-1] == "done"
        assert len(set(keys)) == len(keys) == 3

    def test_the_only_member_is_tried_again_itself(self) -> None:
        asked: list[str] = []

        async def work(to: str, body: Any, key: str) -> Any:
            asked.append(to)
            if len(asked) < 3:
                raise DeadlineExceededError("gone")
            return "done"

        assert drive(Once(1), work, members=("a",)) == ["done"]
        assert asked == ["a", "a", "a"]


class TestTeams:
    def test_a_unit_goes_only_to_a_member_with_all_it_needs_after_a_failure_too(self) -> None:
        asked: list[str] = []

        async def work(to: str, body: Any, key: str) -> Any:
            asked.append(to)
            if len(asked) == 1:
                raise DeadlineExceededError("gone")
            return "done"

        plan = Once(1)
        plan.todo = [Work("0", 1, needs=frozenset({"sql"}))]
        rig = Rig(plan, work)
        rig.registry = [Registration(n, 1, frozenset({"sql"} if n in "cd" else {"python"})) for n in "abcd"]
        assert rig.drive(Team(("a", "b", "c", "d"))) == ["done"]
        assert asked == ["c", "d"]
        assert rig.announced() == ["task_recovered"]

    def test_units_for_a_busy_capability_do_not_keep_members_of_another_one_idle(self) -> None:
        release = asyncio.Event()

        async def work(to: str, body: Any, key: str) -> Any:
            if to == "sql":
                await release.wait()
            elif body == "last":
                release.set()
            return to

        plan = Once(*range(9))
        sql, python = frozenset({"sql"}), frozenset({"python"})
        plan.todo = [Work(str(n), n, needs=sql) for n in range(4)]
        plan.todo += [Work(str(n), "last" if n == 8 else n, needs=python) for n in range(4, 9)]
        rig = Rig(plan, work)
        rig.registry = [Registration("sql", 1, sql), Registration("python", 1, python)]
        assert sorted(rig.drive(Team(("sql", "python")))) == ["python"] * 5 + ["sql"] * 4

    def test_a_newcomer_of_the_capability_is_taken_in_without_a_restart(self) -> None:
        async def work(to: str, body: Any, key: str) -> Any:
            return to

        async def hire(rig: Rig) -> None:
            await until(lambda: rig.run.phase == "running")
            rig.registry.append(Registration("new", 1, frozenset({"sql"})))
            rig.ticks.put_nowait(None)

        plan = Once(1)
        plan.todo = [Work("0", 1, needs=frozenset({"sql"}))]
        assert Rig(plan, work).drive(Team(query=Query(capabilities=frozenset({"sql"}))), hire) == ["new"]

    def test_a_unit_that_nobody_came_for_ends_the_run_with_what_it_needs_and_what_there_is(self) -> None:
        async def wait_too_long(rig: Rig) -> None:
            await until(lambda: rig.run.phase == "running")

            def looked_around() -> bool:
                rig.clock.advance(1.0)
                rig.ticks.put_nowait(None)
                return bool(rig.announced())

            await until(looked_around)
            assert rig.clock.now() >= 15.0

        plan = Once(1)
        plan.todo = [Work("0", 1, needs=frozenset({"gpu"}))]
        rig = Rig(plan, None, member_wait_s=10.0)
        rig.registry = [Registration("a", 1, frozenset({"sql"}))]
        with pytest.raises(NoCapableMemberError, match=r"all of gpu\. 'a' has sql"):
            rig.drive(Team(("a",)), wait_too_long)
        assert rig.announced() == ["no_suitable_agents"]
        assert plan.calls == ["open", "close"]

    def test_a_member_that_is_gone_for_good_is_asked_no_more(self) -> None:
        asked: list[str] = []

        async def work(to: str, body: Any, key: str) -> Any:
            asked.append(to)
            if to == "a":
                raise UnknownAgentError("no agent named 'a'")
            return to

        assert drive(Once(*range(20)), work, room=1) == ["b"] * 20
        assert asked.count("a") == 1

    def test_a_registry_out_of_reach_stops_no_run(self) -> None:
        async def work(to: str, body: Any, key: str) -> Any:
            return to

        def unreachable(query: Query) -> Any:
            raise TimeoutError("the root does not answer")

        rig = Rig(Once(1), work)
        rig.host._find = unreachable
        assert rig.drive(Team(("a",))) == ["a"]

    def test_a_units_own_time_limit_counts_for_it(self) -> None:
        async def work(to: str, body: Any, key: str) -> Any:
            return to

        plan = Once(1, 2)
        plan.todo = [Work("0", 1, timeout_s=1.5), Work("1", 2)]
        rig = Rig(plan, work)
        rig.drive(Team(("a",)))
        assert sorted(rig.timeouts) == [1.5, 9.0]


class TestControl:
    def held(self, *payloads: Any, **settings: Any) -> tuple[Rig, asyncio.Event, list[Any]]:
        """Return a run whose units end when the event is set, and the payloads begun."""
        release, begun = asyncio.Event(), list[Any]()

        async def work(to: str, body: Any, key: str) -> Any:
            begun.append(body)
            await release.wait()
            return body

        return Rig(Once(*payloads), work, **settings), release, begun

    def test_a_paused_run_gives_nothing_out_and_goes_on_when_it_is_resumed(self) -> None:
        rig, release, begun = self.held(1, 2, 3, room=1)

        async def pause(rig: Rig) -> None:
            await until(lambda: len(begun) == 1)
            rig.run.pause()
            release.set()
            await until(lambda: rig.run.units_done == 1 and rig.run.progress == {"left": 2})
            assert (rig.run.phase, begun) == ("paused", [1])
            rig.run.resume()

        assert rig.drive(Team(("a",)), pause) == [1, 2, 3]
        assert rig.run.phase == "completed"

    def test_a_cancelled_run_stops_what_members_work_on_and_tells_the_plan_of_each_unit(self) -> None:
        rig, _, begun = self.held(1, 2, 3)

        async def cancel(rig: Rig) -> None:
            await until(lambda: len(begun) == 2)
            rig.run.cancel("enough", at_members=True)
            await until(lambda: len(rig.cancelled_at) == 2)

        rig.drive(Team(("a",)), cancel)
        assert sorted(rig.cancelled_at) == [("a", "r:0:1"), ("a", "r:1:1")]
        assert rig.run.phase == "cancelled"
        assert {(o.error.type, o.error.retryable) for o in rig.plan.outcomes} == {("RunCancelled", True)}
        assert rig.run.pool.figures(0.0)["a"].failures == 0

    def test_a_plan_told_to_stop_gets_what_is_with_members(self) -> None:
        rig, release, begun = self.held(1, 2)
        rig.plan.finished = lambda: rig.plan.cancelled and len(rig.plan.outcomes) == 1

        async def cancel(rig: Rig) -> None:
            await until(lambda: len(begun) == 1)
            rig.run.cancel("enough")
            release.set()

        rig.plan.todo.pop()
        assert rig.drive(Team(("a",)), cancel) == [1]
        assert rig.run.phase == "cancelled"

    def test_a_run_cancelled_before_it_begins_gives_nothing_out(self) -> None:
        rig, _, begun = self.held(1)
        rig.run.cancel("too late")
        rig.drive(Team(("a",)))
        assert (begun, rig.run.phase) == ([], "cancelled")

    def test_a_run_in_which_nothing_gets_done_is_reported_once_and_not_stopped(self) -> None:
        rig, release, begun = self.held(1, stall_s=60.0)

        async def stall(rig: Rig) -> None:
            await until(lambda: len(begun) == 1)
            for seconds in (59.0, 2.0, 60.0):
                rig.clock.advance(seconds)
                rig.ticks.put_nowait(None)
                await until(rig.ticks.empty)
            await until(lambda: rig.run.stalled)
            release.set()

        assert rig.drive(Team(("a",)), stall) == [1]
        assert rig.announced() == ["stalled_workflows_detected"]
        assert not rig.run.stalled

    def test_an_error_of_our_own_ends_the_run_instead_of_hanging_it(self) -> None:
        async def broken(to: str, body: Any, key: str) -> Any:
            raise ZeroDivisionError("a defect below")

        rig = Rig(Once(1), broken)
        with pytest.raises(ZeroDivisionError):
            rig.drive(Team(("a",)))
        assert (rig.run.phase, rig.run.error) == ("failed", "ZeroDivisionError: a defect below")

    def test_a_plan_is_visited_once_for_all_units_that_ended_together(self) -> None:
        rig, release, begun = self.held(*range(40), room=40)
        visits = []
        rig.plan.progress = lambda: visits.append(len(rig.plan.outcomes)) or {}

        async def let_go(rig: Rig) -> None:
            await until(lambda: len(begun) == 40)
            release.set()

        rig.drive(Team(("a",)), let_go)
        assert visits[-1] == 40
        assert len(visits) <= 5
