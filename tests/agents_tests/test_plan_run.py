"""Driving one plan: who does the work, what is tried again, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents import AgentFailedError, DeadlineExceededError, ManualClock, Outcome, SystemStoppedError, Work
from dspex_agents.roles.plan_run import PlanRun, PlanStalledError, choose_member
from dspex_agents.testing import LoneHost

Answer = Callable[[str, Any, str], Awaitable[Any]]


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


def drive(plan: Any, answer: Answer, *, members: Sequence[str] = ("a", "b"), room: int = 2, attempts: int = 3) -> Any:
    async def ask(to: str, body: Any, *, timeout_s: float, key: str) -> Any:
        return await answer(to, body, key)

    async def scenario() -> Any:
        context = LoneHost(ManualClock(5.0), ask=ask).context("coordinator")
        with ThreadPoolExecutor(max_workers=1) as thread:
            run = PlanRun("r", plan, thread, context, members=members, room=room, attempts=attempts, work_timeout_s=9.0)
            async with asyncio.timeout(10):
                return await run.drive()

    return asyncio.run(scenario())


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


class TestChoosing:
    def test_without_affinity_the_least_loaded_member_is_chosen_and_the_first_of_equals(self) -> None:
        assert choose_member(Work("1", None), {"a": 1, "b": 0, "c": 0}, 2) == "b"

    def test_affinity_gives_way_when_its_member_is_full(self) -> None:
        work = Work("1", None, affinity="row 1")
        own = choose_member(work, dict.fromkeys("abc", 0), 2)
        load = dict.fromkeys("abc", 1) | {own: 2}
        assert choose_member(work, load, 2) == min(set("abc") - {own})

    def test_a_member_to_be_avoided_is_chosen_only_when_it_is_the_only_one(self) -> None:
        assert choose_member(Work("1", None), {"a": 0, "b": 9}, 2, avoid="a") == "b"
        assert choose_member(Work("1", None), {"a": 9}, 2, avoid="a") == "a"

    @given(st.sets(st.text("abcdefgh", min_size=1), min_size=2), st.text(min_size=1))
    def test_a_member_that_leaves_moves_only_its_own_work(self, members: set[str], affinity: str) -> None:
        work, gone = Work("1", None, affinity=affinity), min(members)
        before = choose_member(work, dict.fromkeys(members, 0), 1)
        after = choose_member(work, dict.fromkeys(members - {gone}, 0), 1)
        assert before in (after, gone)
