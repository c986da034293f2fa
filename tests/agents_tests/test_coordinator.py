"""The coordinator in a running system: joined runs, failing plans, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from runtime_contract import spec_of
from sample_agents import Squarer, SumOfSquares

from dspex_agents import (
    AgentFailedError,
    ChildSpec,
    CoordinatorAgent,
    DeadlineExceededError,
    GetProgress,
    RunPlan,
    System,
    TaskAgent,
    Work,
    start_local_system,
)
from dspex_agents.roles.plan_run import PlanStalledError
from dspex_agents.teamwork.member_pool import NoCapableMemberError
from dspex_agents.teamwork.run_messages import UnknownRunError
from dspex_agents.teamwork.team import WorkSettings


class Counted(SumOfSquares):
    """Counts how often plans of the class are opened and closed, and how many are open at once."""

    opened: ClassVar[int] = 0
    living: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def open(self) -> None:
        kind = type(self)
        kind.opened += 1
        kind.living += 1
        kind.most = max(kind.most, kind.living)

    def close(self) -> None:
        type(self).living -= 1


class Held:
    """A worker whose units end when the gate is opened."""

    gate: ClassVar[threading.Event]

    async def start(self, context: Any) -> None:
        return

    async def perform(self, payload: int) -> int:
        await asyncio.to_thread(self.gate.wait)
        return payload * payload

    async def stop(self) -> None:
        return


class Broken(SumOfSquares):
    def pull(self, limit: int, now: float) -> Sequence[Work]:
        raise OSError("the journal's disk is full")


class Stalled(SumOfSquares):
    def pull(self, limit: int, now: float) -> Sequence[Work]:
        return []


def unbuildable(**_: Any) -> Any:
    raise KeyError("no such table")


@pytest.fixture
def kind() -> Iterator[type[Counted]]:
    class Fresh(Counted):
        pass

    Held.gate = threading.Event()
    yield Fresh
    Held.gate.set()


def team(worker: type = Squarer, **options: Any) -> Any:
    workers = [ChildSpec(id=f"w{n}", start=TaskAgent, kwargs={"worker": worker, "concurrency": 4}) for n in (1, 2)]
    boss = ChildSpec(id="coord", start=CoordinatorAgent, kwargs={"members": ("w1", "w2"), **options}, host="boss")
    return spec_of(*workers, boss)


def in_thread(system: System, order: RunPlan, answers: list[Any], **options: Any) -> threading.Thread:
    def ask() -> None:
        try:
            answers.append(system.ask("coord", order, **options))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            answers.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    return asker


def test_two_asks_of_one_run_share_it_and_get_the_same_result(kind: type[Counted], wait: Any) -> None:
    with start_local_system(team(Held)) as system:
        answers: list[Any] = []
        askers = [in_thread(system, RunPlan("r", kind, {"n": 3}), answers) for _ in range(2)]
        wait(lambda: system.status("coord").in_flight == 2)
        wait(lambda: "r" in system.status("coord").details["runs"])
        Held.gate.set()
        for asker in askers:
            asker.join(10)
    assert answers == [{"sum": 14, "done": 3, "errors": []}] * 2
    assert (kind.opened, kind.living) == (1, 0)


def test_two_runs_go_on_side_by_side(kind: type[Counted], wait: Any) -> None:
    with start_local_system(team(Held)) as system:
        answers: list[Any] = []
        askers = [in_thread(system, RunPlan(f"r{n}", kind, {"n": n}), answers) for n in (1, 2)]
        wait(lambda: len(system.status("coord").details["runs"]) == 2)
        Held.gate.set()
        for asker in askers:
            asker.join(10)
    assert sorted(answer["sum"] for answer in answers) == [1, 5]


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [(Broken, OSError, "disk is full"), (unbuildable, KeyError, "no such table")],
)
def test_what_a_plan_raises_reaches_the_asker_and_the_coordinator_goes_on(
    build: Any, error: type[Exception], text: str
) -> None:
    with start_local_system(team()) as system:
        with pytest.raises(AgentFailedError, match=text) as caught:
            system.ask("coord", RunPlan("r", build, {"n": 3}))
        assert isinstance(caught.value.cause, error)
        assert system.ask("coord", RunPlan("r", SumOfSquares, {"n": 3}))["sum"] == 14
        assert system.status("coord").details["runs"] == {}


def test_a_stalled_plan_reaches_the_asker_as_such() -> None:
    with start_local_system(team()) as system, pytest.raises(PlanStalledError, match="offers no work"):
        system.ask("coord", RunPlan("r", Stalled, {"n": 3}))


def test_a_unit_that_fails_in_its_worker_is_the_programs_failure() -> None:
    class OneFails(SumOfSquares):
        def __init__(self) -> None:
            super().__init__(1)
            self._todo = [Work("1", "fail")]

    with start_local_system(team()) as system:
        assert system.ask("coord", RunPlan("r", OneFails)) == {"sum": 0, "done": 1, "errors": ["program"]}


def test_a_run_nobody_waits_for_any_more_is_stopped_and_closed(kind: type[Counted], wait: Any) -> None:
    with start_local_system(team(Held)) as system:
        with pytest.raises(DeadlineExceededError):
            system.ask("coord", RunPlan("r", kind, {"n": 9}), timeout_s=0.2)
        wait(lambda: kind.living == 0)
        wait(lambda: not system.status("coord").details["runs"])
        Held.gate.set()
        assert system.ask("coord", RunPlan("r", kind, {"n": 3}))["sum"] == 14


def test_a_killed_coordinator_leaves_no_second_driver_behind(kind: type[Counted], wait: Any) -> None:
    with start_local_system(team(Held)) as system:
        answers: list[Any] = []
        asker = in_thread(system, RunPlan("r", kind, {"n": 9}), answers, retry_safe=True)
        wait(lambda: sum(system.status(w).in_flight for w in ("w1", "w2")) == 4)
        system._root._target._placement.route("coord").port.kill()
        wait(lambda: kind.opened == 2)
        Held.gate.set()
        asker.join(10)
        assert answers == [{"sum": sum(n * n for n in range(10)), "done": 9, "errors": []}]
        wait(lambda: kind.living == 0)


def test_questions_about_a_run_that_is_not_there_name_those_that_are() -> None:
    with (
        start_local_system(team()) as system,
        pytest.raises(UnknownRunError, match=r"No run 'x' is under way here. Under way: none"),
    ):
        system.ask("coord", GetProgress("x"), control=True)


def test_a_run_for_which_nobody_is_there_is_refused_by_name_of_what_it_needs() -> None:
    boss = ChildSpec(
        id="coord", start=CoordinatorAgent, kwargs={"work": WorkSettings(member_wait_s=0.05, refresh_s=0.02)}
    )
    with start_local_system(spec_of(boss)) as system, pytest.raises(NoCapableMemberError, match="The team is empty"):
        system.ask("coord", RunPlan("r", SumOfSquares, {"n": 3}))


def test_progress_is_that_of_the_plan(kind: type[Counted], wait: Any) -> None:
    with start_local_system(team(Held)) as system:
        answers: list[Any] = []
        asker = in_thread(system, RunPlan("r", kind, {"n": 3}), answers)
        wait(lambda: system.status("coord").details["runs"] == {"r": "coord:r"})
        wait(lambda: bool(system.find(capabilities=frozenset({"run-of:coord"}))))  # it is listed before it is up
        wait(lambda: system.status("coord:r").details["progress"] == {"done": 0, "of": 3})
        assert system.ask("coord", GetProgress("r"), control=True) == {"done": 0, "of": 3}
        Held.gate.set()
        asker.join(10)
