"""Sending under a policy: retries where they are safe, what follows a failure, and broadcasts by their mode."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dspex_agents import ManualClock
from dspex_agents.errors import (
    AgentFailedError,
    AgentStoppedError,
    DeadlineExceededError,
    MailboxFullError,
    SpecError,
    SystemStoppedError,
    UnknownAgentError,
)
from dspex_agents.messaging.message import GetStatus, Priority
from dspex_agents.services.dead_letter_messages import AddDeadLetters
from dspex_agents.services.rate_limiter import RateLimitedError
from dspex_agents.services.retry_policy import RetryPolicy
from dspex_agents.services.send_policy import BroadcastError, Sender, SendOutcome, SendPolicy
from dspex_agents.testing import LoneHost

THREE = RetryPolicy(max_retries=2, jitter=0.0)


class Rig:
    """Agents that answer as written: each takes the next entry of its list (the last one again), errors are raised."""

    def __init__(self, **answers: list[Any]) -> None:
        self.clock, self.answers = ManualClock(100.0), answers
        self.host = LoneHost(self.clock, ask=self.answer)
        self.waits: list[float] = []

    async def answer(self, to: str, body: Any, **options: Any) -> Any:
        if to not in self.answers:
            raise UnknownAgentError.among(to, self.answers)
        if isinstance(body, GetStatus):
            return None
        answers = self.answers[to]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    def sender(self, **policy: Any) -> Sender:
        return Sender(self.host.context("me"), SendPolicy(**policy), sleep=self.sleep)

    def asked(self, kind: type = str) -> list[str]:
        return [to for to, body, _ in self.host.asked if isinstance(body, kind)]


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def scene() -> Any:
        return await work()

    return asyncio.run(scene())


def test_an_answer_comes_back_with_the_number_of_tries() -> None:
    rig = Rig(a=[MailboxFullError("full"), MailboxFullError("full"), "done"])
    outcome = run(lambda: rig.sender(retry=THREE, priority=Priority.HIGH).send("a", "work"))
    assert outcome == SendOutcome("a", "done", attempts=3)
    assert rig.waits == [0.5, 1.0]
    assert rig.host.asked[0] == ("a", "work", {"timeout_s": 5.0, "priority": Priority.HIGH, "retry_safe": False})


@pytest.mark.parametrize(
    ("error", "retry_safe", "tries"),
    [
        (MailboxFullError("full"), False, 3),  # surely not seen
        (AgentStoppedError("stopped"), False, 3),
        (DeadlineExceededError("late"), False, 1),  # may have been seen
        (DeadlineExceededError("late"), True, 3),
        (AgentFailedError("raised"), True, 1),  # surely seen
        (UnknownAgentError("nobody"), True, 1),  # will not be there in a second either
        (SystemStoppedError("gone"), True, 1),
    ],
)
def test_a_message_is_sent_again_only_where_that_is_safe(error: Exception, retry_safe: bool, tries: int) -> None:  # noqa: FBT001 - a table
    rig = Rig(a=[error])
    outcome = run(lambda: rig.sender(retry=THREE, retry_safe=retry_safe, on_error="ignore").send("a", "work"))
    assert (outcome.error, outcome.attempts, len(rig.asked())) == (error, tries, tries)


def test_the_wait_is_as_long_as_the_other_side_asks() -> None:
    rig = Rig(a=[RateLimitedError("slow down", "me", 7.0), "done"])
    run(lambda: rig.sender(retry=THREE).send("a", "work"))
    assert rig.waits == [7.0]


def test_by_default_nothing_is_repeated_and_the_error_is_raised() -> None:
    rig = Rig(a=[MailboxFullError("full")])
    with pytest.raises(MailboxFullError):
        run(lambda: rig.sender().send("a", "work"))
    assert rig.asked() == ["a"]


def test_an_error_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(a=[MailboxFullError("it is full")])
    with caplog.at_level(logging.WARNING):
        outcome = run(lambda: rig.sender(on_error="log").send("a", "work"))
    assert isinstance(outcome.error, MailboxFullError)
    assert "'me' could not send to 'a': MailboxFullError: it is full" in caplog.text


def test_a_message_can_become_a_dead_letter() -> None:
    rig = Rig(a=[MailboxFullError("full")], letters=[("letter-1",)])
    policy = {"on_error": "dead_letter", "dead_letters": "letters", "retry": THREE, "priority": Priority.LOW}
    outcome = run(lambda: rig.sender(**policy).send("a", "work"))
    assert isinstance(outcome.error, MailboxFullError)
    (letter,) = rig.host.asked[-1][1].letters
    assert (letter.recipient, letter.message, letter.reason) == ("a", "work", "MailboxFullError: full")
    assert (letter.attempts, letter.first_failure_at) == (3, 101.5)
    assert (letter.sender, letter.priority) == ("me", Priority.LOW)


def test_a_dead_letter_that_cannot_be_kept_raises_the_error_with_a_note() -> None:
    rig = Rig(a=[MailboxFullError("full")])
    with pytest.raises(MailboxFullError) as caught:
        run(lambda: rig.sender(on_error="dead_letter").send("a", "work"))
    assert "could not be made a dead letter of agent 'dead-letters': UnknownAgentError" in caught.value.__notes__[0]
    assert isinstance(caught.value.__cause__, UnknownAgentError)


# many -----------------------------------------------------------------------------------------------------------------
def test_best_effort_tells_what_came_of_each_in_their_order() -> None:
    rig = Rig(a=[1], b=[MailboxFullError("full")], c=[3])
    a, b, nobody, c = run(lambda: rig.sender().broadcast(["a", "b", "nobody", "c"], "work", "best_effort"))
    assert (a, c) == (SendOutcome("a", 1), SendOutcome("c", 3))
    assert [type(o.error) for o in (b, nobody)] == [MailboxFullError, UnknownAgentError]


def test_at_least_one_raises_only_when_none_took_it() -> None:
    rig = Rig(a=[MailboxFullError("full")], b=[MailboxFullError("full"), 2])
    sender = rig.sender()
    with pytest.raises(BroadcastError, match=r"at_least_one: 0 of 2 took the message\. Failed: 'a': M") as caught:
        run(lambda: sender.broadcast(["a", "b"], "work", "at_least_one"))
    assert len(pickle.loads(pickle.dumps(caught.value)).outcomes) == 2
    assert [o.value for o in run(lambda: sender.broadcast(["a", "b"], "work", "at_least_one"))] == [None, 2]


def test_all_or_nothing_sends_nothing_while_one_cannot_be_reached() -> None:
    rig = Rig(a=[1], b=[2])
    with pytest.raises(BroadcastError, match=r"nothing was sent, not all .*Failed: 'nobody': Unk") as caught:
        run(lambda: rig.sender().broadcast(["a", "nobody", "b"], "work", "all_or_nothing"))
    assert (rig.asked(), caught.value.outcomes) == ([], ())
    assert rig.asked(GetStatus) == ["a", "nobody", "b"]


def test_all_or_nothing_tells_who_took_what_cannot_be_taken_back() -> None:
    rig = Rig(a=[1], b=[MailboxFullError("full")])
    with pytest.raises(BroadcastError, match="all_or_nothing: 1 of 2 took the message") as caught:
        run(lambda: rig.sender().broadcast(["a", "b"], "work", "all_or_nothing"))
    assert [o.to for o in caught.value.outcomes if o.error is None] == ["a"]
    assert caught.value.executed is None
    rig.answers["b"] = [2]
    assert [o.value for o in run(lambda: rig.sender().broadcast(["a", "b"], "work", "all_or_nothing"))] == [1, 2]


def test_each_failure_of_a_broadcast_can_become_a_dead_letter() -> None:
    rig = Rig(a=[1], b=[MailboxFullError("full")], c=[MailboxFullError("full")], letters=[()])
    policy = {"on_error": "dead_letter", "dead_letters": "letters"}
    run(lambda: rig.sender(**policy).broadcast(["a", "b", "c"], "work", "best_effort"))
    kept = [body.letters[0].recipient for _, body, _ in rig.host.asked if isinstance(body, AddDeadLetters)]
    assert kept == ["b", "c"]


def test_many_failures_are_told_in_short() -> None:
    rig = Rig()
    with pytest.raises(BroadcastError, match="; and 3 more"):
        run(lambda: rig.sender().broadcast([f"n{i}" for i in range(8)], "work", "at_least_one"))


def test_at_most_64_are_asked_at_once() -> None:
    most, now = 0, 0

    async def ask(to: str, body: Any, **options: Any) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    sender = Sender(LoneHost(ManualClock(), ask=ask).context("me"))
    assert len(run(lambda: sender.broadcast([f"n{i}" for i in range(200)], "x", "best_effort"))) == 200
    assert most == 64


@pytest.mark.parametrize(
    ("to", "mode", "told"),
    [
        (["a"], "some", "mode must be one of all_or_nothing, best_effort, at_least_one, got 'some'"),
        ([], "best_effort", "a list of at least one agent is needed"),
        ("abc", "best_effort", "a list of at least one agent is needed, got 'abc'"),
    ],
)
def test_a_bad_broadcast_is_named(to: Any, mode: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        run(lambda: Rig().sender().broadcast(to, "work", mode))


@pytest.mark.parametrize(("field", "value"), [("on_error", "panic"), ("timeout_s", 0), ("timeout_s", float("nan"))])
def test_a_bad_policy_is_named(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"send policy: {field} must"):
        SendPolicy(**{field: value})
