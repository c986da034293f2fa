"""The router: what it calls, in which order, and what it makes of every failure; blocking and awaited alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from dspex_agents import CountingIds, ManualClock
from dspex_agents.errors import (
    AgentFailedError,
    AgentStoppedError,
    DeadlineExceededError,
    OutcomeUnknownError,
    SystemStoppedError,
    UnknownAgentError,
)
from dspex_agents.messaging.message import Envelope, Priority, Reply
from dspex_agents.messaging.router import Router
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError, Route
from dspex_agents.runtime.post_office import PostOffice

UNKNOWN = OutcomeUnknownError("it may have been handled")


class Script:
    """A port that does what the script says, call by call, and keeps what it was asked."""

    def __init__(self, address: str, *steps: Any) -> None:
        self.address, self.steps = address, list(steps)
        self.calls: list[tuple[str, tuple[Any, ...], float | None]] = []

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        self.calls.append((method, args, timeout_s))
        step = self.steps.pop(0)
        step = step(*args) if callable(step) else step
        if isinstance(step, Exception):
            raise step
        return step

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        return self.call_blocking(method, *args, timeout_s=timeout_s)

    def kill(self) -> None: ...


class Rig:
    """A router whose root gives the routes in turn, and whose hosts answer by their scripts."""

    def __init__(self, how: str, routes: list[Any], *hosts: Script) -> None:
        self.clock = ManualClock(1000.0)
        self.root = Script("root", *[Route(*r) if isinstance(r, tuple) else r for r in routes])
        self.hosts = hosts
        self.router = Router(self.root, self.clock, CountingIds())
        self.how = how

    def ask(self, body: Any = "q", **options: Any) -> Any:
        if self.how == "blocking":
            return self.router.ask_blocking("a", body, **options)
        return asyncio.run(self.router.ask("a", body, **options))

    @property
    def sent(self) -> list[Envelope]:
        return [args[0] for host in self.hosts for _, args, _ in host.calls]

    @property
    def gone_epochs(self) -> list[int | None]:
        return [args[2] for _, args, _ in self.root.calls]


@pytest.fixture(params=["blocking", "awaited"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answer(value: Any) -> Callable[[Envelope], Reply]:
    return lambda envelope: Reply(envelope.id, value)


def test_an_answer_is_returned_and_the_route_remembered(how: str) -> None:
    host = Script("h", answer(1), answer(2))
    rig = Rig(how, [(host, 7)], host)
    assert [rig.ask(), rig.ask()] == [1, 2]
    assert len(rig.root.calls) == 1
    assert rig.sent[0].id != rig.sent[1].id


def test_the_options_of_a_question_travel_with_it(how: str) -> None:
    host = Script("h", answer(1))
    rig = Rig(how, [(host, 7)], host)
    rig.ask(timeout_s=5.0, priority=Priority.HIGH, control=True, key="k", delay_s=2.0)
    ((_, (envelope,), timeout_s),) = host.calls
    assert envelope[3:] == (7, 0, True, 1005.0, "k", "", 1002.0, False, None)
    assert timeout_s == 5.5  # the agent answers its own deadline first


def test_a_message_has_no_key_unless_one_is_given_or_it_may_be_repeated(how: str) -> None:
    host = Script("h", answer(1), answer(1), answer(1))
    rig = Rig(how, [(host, 7)], host)
    rig.ask()
    rig.ask(retry_safe=True)
    rig.ask(retry_safe=True, key="mine")
    assert [e.key for e in rig.sent] == [None, rig.sent[1].id, "mine"]


def test_a_stale_route_is_resolved_again_for_a_later_incarnation(how: str) -> None:
    old, new = Script("old", Reply("", stale=True)), Script("new", answer(1))
    rig = Rig(how, [(old, 7), (new, 8)], old, new)
    assert rig.ask() == 1
    assert rig.gone_epochs == [None, 7]
    assert [e.epoch for e in rig.sent] == [7, 8]
    assert rig.sent[0].id == rig.sent[1].id


@pytest.mark.parametrize("death", [PortDiedError("x"), PortUnavailableError("x"), Reply("", None, UNKNOWN, stale=True)])
def test_a_message_in_flight_at_a_death_is_of_unknown_outcome_unless_it_may_be_repeated(how: str, death: Any) -> None:
    old, new = Script("old", death), Script("new", answer(1))
    rig = Rig(how, [(old, 7)], old, new)
    with pytest.raises(OutcomeUnknownError, match="may have been handled"):
        rig.ask()
    for options in ({"retry_safe": True}, {"control": True}):
        old, new = Script("old", death), Script("new", answer(1))
        rig = Rig(how, [(old, 7), (new, 8)], old, new)
        assert rig.ask(**options) == 1
        assert rig.gone_epochs == [None, 7]
        assert rig.sent[0].key == rig.sent[1].key


def test_an_answered_error_is_raised_as_it_is(how: str) -> None:
    host = Script("h", lambda e: Reply(e.id, error=AgentStoppedError("stopped before handling it")))
    with pytest.raises(AgentStoppedError, match="before handling it"):
        Rig(how, [(host, 7)], host).ask(retry_safe=True)


def test_a_root_that_is_being_restarted_is_asked_again_until_the_deadline(how: str) -> None:
    host = Script("h", answer(1))
    assert Rig(how, [PortUnavailableError("x"), TimeoutError(), (host, 7)], host).ask() == 1
    rig = Rig(how, [])

    def late(*_: Any) -> TimeoutError:
        rig.clock.advance(3.0)
        return TimeoutError()

    rig.root.steps = [late]
    with pytest.raises(DeadlineExceededError, match="within 2 s"):
        rig.ask(timeout_s=2.0)


def test_a_system_that_is_gone_and_an_agent_that_is_unknown_are_named(how: str) -> None:
    with pytest.raises(SystemStoppedError, match="agent 'a' is gone"):
        Rig(how, [PortDiedError("x")]).ask()
    with pytest.raises(UnknownAgentError):
        Rig(how, [UnknownAgentError.among("a", ())]).ask()


def test_a_host_that_does_not_answer_in_time_is_a_deadline_and_tells_of_an_earlier_death(how: str) -> None:
    host = Script("h", TimeoutError())
    with pytest.raises(DeadlineExceededError, match="No answer from agent 'a' within 30 s"):
        Rig(how, [(host, 7)], host).ask()
    old, new = Script("old", PortDiedError("x")), Script("new", TimeoutError())
    with pytest.raises(DeadlineExceededError, match="may have been handled"):
        Rig(how, [(old, 7), (new, 8)], old, new).ask(retry_safe=True)


def test_a_body_that_cannot_travel_is_the_messages_error(how: str) -> None:
    host = Script("h", TypeError("cannot pickle a lock"))
    with pytest.raises(AgentFailedError, match="'a', or its answer, cannot travel: TypeError: cannot pickle a lock"):
        Rig(how, [(host, 7)], host).ask()


def test_those_who_ask_for_the_same_agent_at_once_ask_the_root_once() -> None:
    async def scenario() -> None:
        open_gate = asyncio.Event()
        host = Script("h")

        class Root(Script):
            async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
                self.calls.append((method, args, timeout_s))
                await open_gate.wait()
                return Route(host, 7)

        root = Root("root")
        office = PostOffice({}, root, ManualClock(), CountingIds())
        asked = [asyncio.create_task(office.resolve("a", 5.0, None)) for _ in range(50)]
        hasty = asyncio.create_task(office.resolve("a", 0.01, None))
        with pytest.raises(TimeoutError):
            await hasty
        asked[0].cancel()
        open_gate.set()
        assert await asyncio.gather(*asked[1:]) == [Route(host, 7)] * 49
        assert len(root.calls) == 1
        await office.resolve("a", 5.0, 7)
        assert len(root.calls) == 2

    asyncio.run(asyncio.wait_for(scenario(), 10))
