"""The task agent: each known defect of its forerunner has a test named after it; then what its settings promise."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from runtime_contract import spec_of

from dspex_agents import (
    AgentContext,
    AgentExit,
    AgentFailedError,
    BreakerOpenError,
    BreakerSettings,
    BudgetSettings,
    CheckPayload,
    ChildSpec,
    DeadLetterFilter,
    DeadlineExceededError,
    GetFailedUnits,
    GetMetrics,
    GetProgressOf,
    InvalidPayloadError,
    ManualClock,
    Priority,
    Problem,
    ProgressError,
    PurgeFailedUnits,
    RedriveFailedUnits,
    ResetBreakers,
    Resilience,
    RetryPolicies,
    RetryPolicy,
    SpecError,
    System,
    TaskAgent,
    UnknownUnitError,
    report_progress,
    start_local_system,
)
from dspex_agents.messaging.in_hand import InHand, in_hand
from dspex_agents.messaging.message import Envelope, Pause
from dspex_agents.roles.task_agent import kind_of
from dspex_agents.services.retry_policy import IMMEDIATE
from dspex_agents.testing import LoneHost

SMALL = BreakerSettings(failure_threshold=2, success_threshold=1, reset_s=10.0)
Wait = Callable[..., None]


class FlakyError(Exception):
    retryable = True


class Gated:
    """Does what the payload says; `log` has every payload begun, `gate` holds back those that wait for it."""

    def __init__(self, log: list[Any], gates: dict[str, Any] | None = None) -> None:
        self.log, self.gates = log, gates if gates is not None else {}

    async def start(self, context: AgentContext) -> None:
        self.gates["loop"] = asyncio.get_running_loop()
        self.gates["open"], self.gates["begun"] = asyncio.Event(), asyncio.Event()

    async def perform(self, payload: Any) -> Any:
        self.log.append(payload)
        match payload:
            case "wait":
                self.gates["begun"].set()
                await self.gates["open"].wait()
            case ("report", share, note):
                report_progress(share, note)
                await self.gates["open"].wait()
            case Exception():
                raise payload
            case list() if payload:
                raise payload.pop(0)
        return payload

    async def stop(self) -> None:
        """Nothing to clean up."""


class Picky(Gated):
    """Takes positive numbers only."""

    async def validate(self, payload: Any) -> list[Problem | str]:
        if payload == "broken validation":
            raise RuntimeError("the rules are not loaded")
        if not isinstance(payload, int):
            return [Problem("business", "costs too much"), "says nothing", Problem("syntax", "no number", path="n")]
        return [] if payload > 0 else ["not positive"]


@dataclass(frozen=True)
class Job:
    kind: Any
    error: Exception | None = None


class Jobs(Gated):
    async def perform(self, payload: Job) -> str:
        self.log.append(payload.kind)
        if payload.error:
            raise payload.error
        return payload.kind


class Rig:
    """One task agent in a local system on a clock that stands, its worker's log, and its gates."""

    def __init__(self, worker: type[Gated] = Gated, **kwargs: Any) -> None:
        self.log: list[Any] = []
        self.gates: dict[str, Any] = {}
        self.slept: list[float] = []
        self.clock = ManualClock(1000.0)
        inner = {"log": self.log, "gates": self.gates}
        spec = {"worker": worker, "kwargs": inner, "sleep": self.sleep, **kwargs}
        self.system: System = start_local_system(
            spec_of(ChildSpec(id="t", start=TaskAgent, kwargs=spec)), clock=self.clock
        )
        self.askers = ThreadPoolExecutor(8)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    def ask(self, body: Any, **manner: Any) -> Any:
        return self.system.ask("t", body, **manner)

    def control(self, body: Any) -> Any:
        return self.system.ask("t", body, control=True)

    def later(self, body: Any, **manner: Any) -> Any:
        return self.askers.submit(self.ask, body, **manner)

    def fail(self, error: Exception | None = None) -> None:
        with pytest.raises(AgentFailedError):
            self.ask(error or ValueError("no"))

    def details(self) -> Any:
        return self.system.status("t").details

    def open(self) -> None:
        if not self.gates["loop"].is_closed():
            self.gates["loop"].call_soon_threadsafe(self.gates["open"].set)


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    with contextlib.ExitStack() as stack:

        def build(*args: Any, **kwargs: Any) -> Rig:
            made = Rig(*args, **kwargs)
            stack.callback(made.askers.shutdown)
            stack.enter_context(made.system)
            stack.callback(made.open)
            return made

        yield build


# defects of the forerunner --------------------------------------------------------------------------------------------
def test_bug_a_paused_agent_refused_even_resume_and_status(rig: Callable[..., Rig], wait: Wait) -> None:
    r = rig()
    assert r.system.pause("t").status == "paused"
    waiting = r.later(1)
    wait(lambda: r.system.status("t").mailbox == 1)
    assert r.control(GetMetrics())["done"] == 0
    assert r.system.resume("t").status in {"idle", "processing"}
    assert waiting.result(5) == 1


def test_bug_waiting_because_of_a_pause_counted_as_an_error(rig: Callable[..., Rig]) -> None:
    r = rig(resilience=Resilience(auto_pause_after=1, breaker=SMALL))
    r.system.pause("t")
    with pytest.raises(DeadlineExceededError):
        r.ask(1, timeout_s=0)
    r.system.resume("t")
    assert (r.details()["failed"], r.details()["failures_in_a_row"]) == (0, 0)
    assert r.ask(2) == 2


def test_bug_the_queue_ignored_priority_and_handed_out_pairs(rig: Callable[..., Rig], wait: Wait) -> None:
    r = rig()
    r.system.pause("t")
    asked = []
    for n, (body, priority) in enumerate([("low", 2), ("normal", 1), ("high", 0), ("high too", 0)]):
        asked.append(r.later(body, priority=Priority(priority)))
        wait(lambda n=n: r.system.status("t").mailbox == n + 1)
    r.system.resume("t")
    assert [future.result(5) for future in asked] == ["low", "normal", "high", "high too"]
    assert r.log == ["high", "high too", "normal", "low"], "in order, and each the very payload that was sent"


def test_bug_the_loop_stopped_after_one_idle_pass_and_after_each_task(rig: Callable[..., Rig], wait: Wait) -> None:
    r = rig()
    assert r.ask("first") == "first"
    r.fail()
    wait(lambda: r.system.status("t").status == "idle")
    waiting = [r.later("wait")]
    wait(lambda: r.log[-1] == "wait")
    waiting += [r.later(n) for n in range(5)]
    wait(lambda: r.system.status("t").mailbox == 5)
    r.open()
    assert [future.result(5) for future in waiting] == ["wait", 0, 1, 2, 3, 4]


def test_bug_the_breaker_state_reported_was_always_closed(rig: Callable[..., Rig]) -> None:
    r = rig(resilience=Resilience(breaker=SMALL))

    def state() -> str:
        return r.details()["breakers"]["ValueError"]["state"]

    r.fail()
    seen = [state()]
    r.fail()
    seen.append(state())
    r.clock.advance(10.0)
    seen.append(state())
    r.fail()
    seen.append(state())
    assert seen == ["closed", "open", "half_open", "open"]
    assert r.control(ResetBreakers("ValueError")) == ("ValueError",)
    assert state() == "closed"


def test_bug_failed_tasks_had_no_dead_letters(rig: Callable[..., Rig]) -> None:
    r = rig(resilience=Resilience(dead_letters=2, retries=RetryPolicies(table=((OSError, IMMEDIATE),))))
    r.fail(OSError("disk"))
    r.clock.advance(5.0)
    r.fail(ValueError("odd"))
    disk, odd = r.control(GetFailedUnits())
    assert (disk.recipient, str(disk.message), disk.reason, disk.attempts) == ("t", "disk", "OSError: disk", 4)
    assert (odd.attempts, odd.first_failure_at) == (1, 1005.0)
    r.fail(KeyError("third"))
    assert r.details()["dead_letters"] == {"kept": 2, "dropped": 1}
    assert r.control(PurgeFailedUnits(DeadLetterFilter(reason_contains="KeyError"))) == 1
    assert [letter.reason for letter in r.control(GetFailedUnits())] == ["ValueError: odd"]


def test_bug_status_queries_counted_as_tasks_done(rig: Callable[..., Rig]) -> None:
    r = rig()
    r.ask(1)
    for body in (GetMetrics(), GetMetrics("detailed"), CheckPayload(1), ResetBreakers()):
        r.control(body)
    with pytest.raises(UnknownUnitError):
        r.control(GetProgressOf("m-0"))
    r.system.pause("t")
    r.system.resume("t")
    assert (r.system.status("t").handled, r.details()["done"], r.details()["failed"]) == (1, 1, 0)


def test_bug_the_error_counter_that_pauses_was_never_reset(rig: Callable[..., Rig]) -> None:
    r = rig(resilience=Resilience(auto_pause_after=3))
    for _ in range(4):
        r.fail()
        r.fail()
        r.ask("fine")
    assert r.system.status("t").status == "idle", "eight failures, never three in a row"
    for _ in range(3):
        r.fail()
    assert r.system.status("t").status == "paused"
    r.system.resume("t")
    r.fail()
    assert r.details()["failures_in_a_row"] == 1
    assert r.ask("fine") == "fine", "after a resume it takes as many again"


def test_bug_calls_through_a_breaker_ran_one_after_the_other(rig: Callable[..., Rig], wait: Wait) -> None:
    r = rig(concurrency=3, resilience=Resilience(breaker=SMALL, retries=RetryPolicies(), attempt_timeout_s=60.0))
    asked = [r.later("wait") for _ in range(3)]
    wait(lambda: len(r.log) == 3)
    assert r.system.status("t").in_flight == 3
    r.open()
    assert [future.result(5) for future in asked] == ["wait"] * 3


def test_bug_the_retry_budget_was_declared_and_not_enforced(rig: Callable[..., Rig]) -> None:
    retries = RetryPolicies(retryable=IMMEDIATE, budget=BudgetSettings(size=4, per_success=0.5, per_s=0.0))
    r = rig(resilience=Resilience(retries=retries))
    for _ in range(5):
        r.fail(FlakyError("down"))
    assert len(r.log) == 5 + 4, "five first tries, and no more retries than the budget has"
    assert r.details()["retries"] == {"made": 4, "denied": 4, "budget": 0.0}
    for _ in range(2):
        r.ask("fine")
    r.fail(FlakyError("down"))
    assert len(r.log) == 9 + 2 + 2, "two successes have earned one retry"


# retries --------------------------------------------------------------------------------------------------------------
def test_by_default_nothing_is_tried_again(rig: Callable[..., Rig]) -> None:
    r = rig()
    r.fail(FlakyError("once"))
    assert (len(r.log), r.slept) == (1, [])


def test_errors_that_say_so_are_retried_exponentially_and_others_are_not(rig: Callable[..., Rig]) -> None:
    r = rig(resilience=Resilience(retries=RetryPolicies(retryable=RetryPolicy(jitter=0))))
    assert r.ask([FlakyError(), FlakyError()]) == []
    assert r.slept == [0.5, 1.0]
    r.fail()
    assert (len(r.log), r.details()["done"], r.details()["failed"]) == (4, 1, 1)


def test_the_first_wait_is_as_long_as_the_error_asks(rig: Callable[..., Rig]) -> None:
    limited = FlakyError("slow down")
    limited.retry_after_s = 7.0
    r = rig(resilience=Resilience(retries=RetryPolicies()))
    assert r.ask([limited]) == []
    assert r.slept == [7.0]


def test_the_same_seed_jitters_the_same_and_another_differently(rig: Callable[..., Rig]) -> None:
    def waits(seed: int) -> list[float]:
        r = rig(resilience=Resilience(retries=RetryPolicies(), seed=seed))
        r.fail(FlakyError())
        return r.slept

    assert waits(1) == waits(1) != waits(2)


def test_an_attempt_that_takes_too_long_fails_and_can_be_retried(rig: Callable[..., Rig]) -> None:
    retries = RetryPolicies(table=((TimeoutError, RetryPolicy(shape="immediate", max_retries=1)),))
    r = rig(resilience=Resilience(retries=retries, attempt_timeout_s=0.01, breaker=SMALL))
    with pytest.raises(AgentFailedError, match="TimeoutError"):
        r.ask("wait")
    assert (r.log, r.details()["errors"]) == (["wait", "wait"], {"TimeoutError": 1})
    assert r.details()["breakers"]["str"]["state"] == "open"


# breakers -------------------------------------------------------------------------------------------------------------
def test_each_kind_has_its_breaker_and_an_open_one_begins_nothing(rig: Callable[..., Rig]) -> None:
    r = rig(Jobs, resilience=Resilience(breaker=SMALL, auto_pause_after=3))
    for _ in range(2):
        with pytest.raises(AgentFailedError):
            r.ask(Job("api", OSError("down")))
    for _ in range(3):
        with pytest.raises(BreakerOpenError, match=r"'api' is not closed; ask again in 10 s") as caught:
            r.ask(Job("api"))
    assert caught.value.executed is False
    assert r.ask(Job("local")) == "local"
    assert r.log == ["api", "api", "local"]
    metrics = r.control(GetMetrics("detailed"))
    assert (metrics["failed"], metrics["refused"], metrics["by_kind"]["api"]["failed"]) == (2, 3, 2)
    assert {kind: one["state"] for kind, one in metrics["breakers"].items()} == {"api": "open", "local": "closed"}
    r.clock.advance(10.0)
    assert r.ask(Job("api")) == "api"


def test_a_breaker_that_opens_between_retries_ends_them_with_the_error_itself(rig: Callable[..., Rig]) -> None:
    r = rig(resilience=Resilience(breaker=SMALL, retries=RetryPolicies(retryable=IMMEDIATE)))
    with pytest.raises(AgentFailedError, match="FlakyError: down"):
        r.ask(FlakyError("down"))
    assert len(r.log) == 2
    assert (r.details()["failed"], r.details().get("refused")) == (1, None)


def test_a_cancelled_trial_leaves_room_for_the_next() -> None:
    clock, gates = ManualClock(), {}
    agent = TaskAgent(Gated, {"log": [], "gates": gates}, resilience=Resilience(breaker=SMALL))
    agent.context = LoneHost(clock).context("t")

    class Waits(str):
        __slots__ = ()
        kind = "OSError"  # as that of the errors below

    async def story() -> None:
        await agent.on_start()
        for _ in range(2):
            with pytest.raises(OSError, match="down"):
                await agent.on_message(OSError("down"))
        clock.advance(10.0)
        trial = asyncio.create_task(agent.on_message(Waits("wait")))
        await gates["begun"].wait()
        with pytest.raises(BreakerOpenError, match="one trial is under way"):
            await agent.on_message(OSError("too early"))
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        with pytest.raises(OSError, match="let through"):
            await agent.on_message(OSError("let through"))

    asyncio.run(story())


def test_an_agent_that_ends_itself_is_no_failure_and_not_tried_again() -> None:
    log: list[Any] = []
    everything = RetryPolicies(table=((Exception, IMMEDIATE),))
    breaker = BreakerSettings(failure_threshold=1)
    agent = TaskAgent(Gated, {"log": log}, resilience=Resilience(breaker=breaker, retries=everything, dead_letters=1))
    agent.context = LoneHost(ManualClock()).context("t")
    with pytest.raises(AgentExit, match="enough"):
        asyncio.run(agent.on_message(AgentExit("enough")))
    details = agent.details()
    assert (len(log), details["failed"], details["dead_letters"]["kept"]) == (1, 0, 0)
    assert details["breakers"]["AgentExit"]["state"] == "closed"


@pytest.mark.parametrize(
    ("payload", "kind"), [(Job("api"), "api"), (Job(7), "Job"), (3, "int"), ({"kind": "x"}, "dict"), (None, "NoneType")]
)
def test_the_kind_is_the_payloads_own_or_its_type(payload: Any, kind: str) -> None:
    assert kind_of(payload) == kind


# progress -------------------------------------------------------------------------------------------------------------
def test_progress_is_seen_in_the_status_and_by_id_while_the_unit_runs(rig: Callable[..., Rig], wait: Wait) -> None:
    r = rig()
    asked = r.later(("report", 0.4, "loading"))
    wait(lambda: len(r.log) == 1)
    (running,) = r.details()["running"]
    assert running["id"].startswith("m-")  # the message's own id, as its asker knows it
    shown = r.control(GetProgressOf(running["id"]))
    assert (shown.share, shown.note, shown.attempt, shown.kind, shown.started_at) == (
        0.4,
        "loading",
        1,
        "tuple",
        1000.0,
    )
    assert running == {"id": shown.id, "kind": "tuple", "share": 0.4, "note": "loading", "attempt": 1}
    with pytest.raises(UnknownUnitError, match=f"No unit of work 'm-x' is under way here. Under way: {shown.id}"):
        r.control(GetProgressOf("m-x"))
    r.open()
    asked.result(5)
    assert "running" not in r.details()


def test_progress_goes_by_the_id_of_the_message_where_the_deliverer_names_it() -> None:
    class Asks(Gated):
        async def perform(self, payload: Any) -> Any:
            await asyncio.to_thread(report_progress, 0.5, "in a thread")
            return agent._board.of("m-7").share

    agent = TaskAgent(Asks, {"log": []})
    agent.context = LoneHost(ManualClock()).context("t")

    async def deliver() -> Any:
        in_hand.set(InHand(Envelope("t", 1, "m-7"), 0.0))
        return await agent.on_message(1)

    assert asyncio.run(deliver()) == 0.5


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(rig: Callable[..., Rig], share: float) -> None:
    with pytest.raises(AgentFailedError, match=r"ProgressError: .*share must be from 0 to 1"):
        rig().ask(("report", share, ""))


def test_progress_outside_a_unit_is_refused() -> None:
    with pytest.raises(ProgressError, match="outside a worker's perform"):
        report_progress(0.5)


# validation -----------------------------------------------------------------------------------------------------------
def test_an_invalid_payload_is_answered_with_every_problem_and_is_no_failure(rig: Callable[..., Rig]) -> None:
    r = rig(Picky, resilience=Resilience(breaker=SMALL, auto_pause_after=1, dead_letters=1, retries=RetryPolicies()))
    for _ in range(3):
        with pytest.raises(AgentFailedError) as caught:
            r.ask("x")
    error = caught.value.cause
    assert isinstance(error, InvalidPayloadError)
    assert list(map(str, error.problems)) == [
        "syntax: n: no number",
        "semantics: says nothing",
        "business: costs too much",
    ]
    assert r.log == []
    details = r.details()
    assert (details["rejected"], details["failed"], details["failures_in_a_row"]) == (3, 0, 0)
    assert r.system.status("t").failed == 0
    assert (details["breakers"], details["dead_letters"]["kept"]) == ({}, 0)
    assert r.ask(1) == 1


def test_a_payload_can_be_checked_without_being_worked_on(rig: Callable[..., Rig]) -> None:
    r = rig(Picky)
    assert r.control(CheckPayload(-1)) == (Problem("semantics", "not positive"),)
    assert r.control(CheckPayload(5)) == ()
    assert r.log == []
    assert rig(Gated).control(CheckPayload(object)) == ()


def test_a_validation_that_breaks_is_a_failure(rig: Callable[..., Rig]) -> None:
    r = rig(Picky)
    with pytest.raises(AgentFailedError, match="the rules are not loaded"):
        r.ask("broken validation")
    assert r.details()["errors"] == {"RuntimeError": 1}


@pytest.mark.parametrize(
    ("answer", "told"), [("oops", "collection"), (None, "collection"), (False, "collection"), ([1], "Problem or str")]
)
def test_a_validate_that_returns_no_problems_list_is_told_so(answer: Any, told: str) -> None:
    class Odd(Gated):
        def validate(self, payload: Any) -> Any:
            return answer

    agent = TaskAgent(Odd, {"log": []})
    agent.context = LoneHost(ManualClock()).context("t")
    with pytest.raises(SpecError, match=told):
        asyncio.run(agent.on_message(1))


def test_a_validate_that_cannot_be_called_and_a_level_that_is_none_are_refused() -> None:
    class Odd(Gated):
        validate = "yes"

    with pytest.raises(SpecError, match=r"Odd\.validate must be a method, got 'yes'"):
        TaskAgent(Odd, {"log": []})
    with pytest.raises(SpecError, match=r"problem\.level must be one of 'syntax', .* got 'style'"):
        Problem("style", "ugly")
    error = InvalidPayloadError((Problem("syntax", "no"),))
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


# dead letters and pauses ----------------------------------------------------------------------------------------------
def test_a_redriven_letter_is_done_or_comes_back_with_its_history(rig: Callable[..., Rig], wait: Wait) -> None:
    r = rig(resilience=Resilience(dead_letters=10))
    with pytest.raises(AgentFailedError):
        r.ask([ValueError("first"), KeyError("second")])
    r.clock.advance(5.0)

    def kept() -> Any:
        return r.control(GetFailedUnits())

    assert r.control(RedriveFailedUnits()) == 1
    wait(lambda: len(kept()) == 1)
    (letter,) = kept()
    assert (letter.reason, letter.attempts) == ("KeyError: 'second'", 2)
    assert (letter.first_failure_at, letter.last_failure_at) == (1000.0, 1005.0)
    assert r.control(RedriveFailedUnits(DeadLetterFilter(recipient="other"))) == 0
    assert r.control(RedriveFailedUnits()) == 1
    wait(lambda: r.details()["done"] == 1)
    assert kept() == ()


def test_a_letter_that_finds_no_place_in_the_mailbox_is_kept_and_counts_no_attempt(
    rig: Callable[..., Rig], wait: Wait
) -> None:
    r = rig(mailbox_size=1, resilience=Resilience(dead_letters=10))
    r.fail()
    asked = [r.later("wait")]
    wait(lambda: len(r.log) == 2)
    asked.append(r.later("next"))
    wait(lambda: r.system.status("t").mailbox == 1)
    r.control(RedriveFailedUnits())
    wait(lambda: r.details()["dead_letters"]["kept"] == 1)
    (letter,) = r.control(GetFailedUnits())
    assert letter.attempts == 1
    assert letter.reason.startswith("MailboxFullError")
    r.open()
    assert [future.result(5) for future in asked] == ["wait", "next"]


def test_an_agent_that_stops_waits_for_no_redrive(rig: Callable[..., Rig], wait: Wait) -> None:
    r = rig(resilience=Resilience(dead_letters=1, attempt_timeout_s=0.01))
    with pytest.raises(AgentFailedError):
        r.ask("wait")
    r.system.pause("t")
    assert r.control(RedriveFailedUnits()) == 1
    wait(lambda: r.system.status("t").mailbox == 1)
    r.system.stop(timeout_s=5.0)
    assert r.log == ["wait"]


def test_a_control_message_it_does_not_know_is_refused(rig: Callable[..., Rig]) -> None:
    with pytest.raises(AgentFailedError, match="TaskAgent knows no control message str"):
        rig().control("hello")


def test_an_agent_without_dead_letters_says_how_to_keep_them(rig: Callable[..., Rig]) -> None:
    with pytest.raises(AgentFailedError, match=r"'t' keeps no dead letters; give it Resilience\(dead_letters=...\)"):
        rig().control(GetFailedUnits())


def test_an_agent_that_cannot_pause_itself_still_answers_with_the_error(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Any] = []

    async def ask(to: str, body: Any, **manner: Any) -> Any:
        asked.append((to, body, manner["control"]))
        raise DeadlineExceededError("no answer")

    agent = TaskAgent(Gated, {"log": []}, resilience=Resilience(auto_pause_after=1))
    agent.context = LoneHost(ManualClock(), ask=ask).context("t")
    with pytest.raises(ValueError, match="odd"):
        asyncio.run(agent.on_message(ValueError("odd")))
    assert asked == [("t", Pause("1 failures in a row, the last one ValueError: odd"), True)]
    assert "could not pause itself" in caplog.text
    assert agent.details()["failures_in_a_row"] == 1


# settings and figures -------------------------------------------------------------------------------------------------
def test_metrics_come_in_short_and_in_detail(rig: Callable[..., Rig]) -> None:
    r = rig()
    r.ask(1)
    r.ask("a")
    r.fail()
    short, long = r.control(GetMetrics()), r.control(GetMetrics("detailed"))
    assert (short["done"], short["failed"], short["success_rate"]) == (2, 1, 66.67)
    assert {kind: (t["done"], t["failed"]) for kind, t in long["by_kind"].items()} == {
        "int": (1, 0),
        "str": (1, 0),
        "ValueError": (0, 1),
    }
    assert {**short, "rejected": 0, "refused": 0, "by_kind": long["by_kind"]} == long
    with pytest.raises(SpecError, match="must be 'summary' or 'detailed', got 'all'"):
        GetMetrics("all")


def test_names_told_apart_in_the_figures_are_bounded(rig: Callable[..., Rig]) -> None:
    r = rig(Jobs)
    for n in range(105):
        r.ask(Job(f"k{n}"))
    kinds = r.control(GetMetrics("detailed"))["by_kind"]
    assert (len(kinds), kinds["other"]["done"]) == (101, 5)


@pytest.mark.parametrize(
    "fields", [{"attempt_timeout_s": 0}, {"auto_pause_after": 0}, {"dead_letters": -1}, {"attempt_timeout_s": -1.0}]
)
def test_a_bad_setting_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"resilience.{next(iter(fields))} must"):
        Resilience(**fields)


def test_settings_travel_to_another_process() -> None:
    settings = Resilience(
        breaker=SMALL, retries=RetryPolicies(table=((OSError, "never"), ("FlakyError", IMMEDIATE))), dead_letters=3
    )
    assert pickle.loads(pickle.dumps(settings)) == settings
