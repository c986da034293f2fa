"""The resource agent: tokens that come back by themselves, and a line of those who wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dspex_agents import ChildSpec, CountingIds, ManualClock, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.agent import Agent
from dspex_agents.errors import AgentFailedError, AgentStoppedError, RuntimeUnavailableError, SpecError
from dspex_agents.services.bulkhead import OverloadedError
from dspex_agents.services.resource_agent import (
    AcquireResource,
    GetResourceUsage,
    ReleaseResource,
    RenewResource,
    ResourceAgent,
    owner_of,
)
from dspex_agents.services.resource_tokens import ResourceExhaustedError, ResourceToken
from dspex_agents.services.service_agent import TickNow
from dspex_agents.supervision.registry import Query, Registration
from dspex_agents.testing import LoneHost


class Holder(Agent):
    """Acquires what it is told, in its own name."""

    async def on_message(self, body: Any) -> Any:
        resource, amount, wait_s = body
        message = AcquireResource(resource, amount, owner_of(self.context), wait_s=wait_s)
        return await self.context.ask("resources", message, timeout_s=30.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def system(clock: ManualClock) -> Iterator[System]:
    kwargs = {"limits": {"gpu": 2, "memory": 1024}, "check_s": 5.0, "most_waiting": 2, "ids": CountingIds()}
    children = (
        ChildSpec(id="resources", start=ResourceAgent, kwargs=kwargs, isolation="own"),
        ChildSpec(id="a", start=Holder, isolation="own"),
        ChildSpec(id="b", start=Holder, isolation="own"),
    )
    spec = SystemSpec(name="resources", supervisor=SupervisorSpec(id="top", children=children))
    with start_local_system(spec, clock=clock) as started:
        yield started


def used(system: System, resource: str = "gpu") -> float:
    usage = system.ask("resources", GetResourceUsage(), control=True)
    return float(usage[resource].used)


def in_background(system: System, to: str, body: Any) -> tuple[threading.Thread, list[Any]]:
    """Ask in a thread; the list gets the answer, or the error."""
    results: list[Any] = []

    def ask() -> None:
        try:
            results.append(system.ask(to, body))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, results


def waiting(system: System, resource: str = "gpu") -> int:
    return int(system.status("resources").details["resources"][resource]["waiting"])


def test_a_token_is_handed_out_counted_and_given_back(system: System) -> None:
    token = system.ask("a", ("gpu", 2, 0.0))
    assert (token.resource, token.amount, token.owner.split("@")[0]) == ("gpu", 2, "a")
    with pytest.raises(ResourceExhaustedError, match=r"1 of 'gpu' wanted, 0 of 2 free\. Held by: 'a@\d+' 2\."):
        system.ask("b", ("gpu", 1, 0.0))
    details = system.status("resources").details
    assert details["scarce"] == ["gpu"]
    assert details["resources"]["gpu"]["holders"] == {token.owner: 2}
    assert system.ask("resources", ReleaseResource(token.id))
    assert not system.ask("resources", ReleaseResource(token.id))
    assert system.status("resources").details["scarce"] == []


def test_what_a_restarted_owner_held_comes_back_by_itself(system: System, clock: ManualClock) -> None:
    system.ask("a", ("gpu", 1, 0.0))
    system.ask("b", ("gpu", 1, 0.0))
    system.restart_child("a")
    clock.advance(5.0)
    system.ask("resources", TickNow())
    assert used(system) == 1
    assert system.status("resources").details["reclaimed"] == 1
    clock.advance(60.0)
    system.ask("resources", TickNow())
    assert used(system) == 1, "b lives and keeps its own"


def test_what_a_stopped_owner_held_goes_to_whoever_waits(system: System, clock: ManualClock, wait: Any) -> None:
    system.ask("a", ("gpu", 2, 0.0))
    thread, results = in_background(system, "b", ("gpu", 1, 20.0))
    wait(lambda: waiting(system) == 1, what="b waits")
    system.stop_child("a")
    for _ in range(2):
        clock.advance(5.0)
        system.ask("resources", TickNow())
    thread.join(20)
    assert [token.owner.split("@")[0] for token in results] == ["b"]


def test_a_driver_needs_a_lease_and_loses_the_token_when_it_runs_out(system: System, clock: ManualClock) -> None:
    with pytest.raises(AgentFailedError, match="must be an agent's incarnation"):
        system.ask("resources", AcquireResource("gpu", 1, "driver"))
    tokens = [system.ask("resources", AcquireResource("gpu", 1, "driver", lease_s=10.0)) for _ in range(2)]
    clock.advance(9.0)
    assert system.ask("resources", RenewResource(tokens[0].id, 10.0))
    clock.advance(1.0)
    system.ask("resources", TickNow())
    assert used(system) == 1
    assert not system.ask("resources", RenewResource(tokens[1].id, 10.0))
    assert system.status("resources").details["expired"] == 1


def test_a_full_line_refuses_and_a_release_passes_those_who_wait(system: System, wait: Any) -> None:
    token = system.ask("a", ("gpu", 2, 0.0))
    first = in_background(system, "a", ("gpu", 1, 20.0))
    second = in_background(system, "b", ("gpu", 1, 20.0))
    wait(lambda: waiting(system) == 2, what="both wait")
    with pytest.raises(OverloadedError, match="'gpu' is overloaded"):
        system.ask("resources", AcquireResource("gpu", 1, "driver", lease_s=1.0, wait_s=5.0))
    assert system.ask("resources", ReleaseResource(token.id))
    for thread, results in (first, second):
        thread.join(20)
        assert isinstance(results[0], ResourceToken)
    assert used(system) == 2


def test_who_waits_in_vain_is_told_who_holds_it_and_leaves_the_line(system: System) -> None:
    system.ask("a", ("gpu", 2, 0.0))
    with pytest.raises(ResourceExhaustedError, match="Held by: 'a@"):
        system.ask("b", ("gpu", 1, 0.05))
    assert waiting(system) == 0


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (AcquireResource("gpu", 3, "a@1"), "over 0 and at most 2"),
        (AcquireResource("tpu", 1, "a@1"), "No resource 'tpu'. Known: gpu, memory"),
        (AcquireResource("gpu", 1, "a@1", wait_s=-1), "wait_s must be a number of seconds, not negative"),
        (RenewResource("token-1", 0), "lease_s must be a positive number"),
        ("hello", "ResourceAgent takes no message of type str"),
    ],
)
def test_a_bad_message_is_named(system: System, message: Any, told: str) -> None:
    with pytest.raises(AgentFailedError, match=told):
        system.ask("resources", message)


def test_a_bad_setting_is_named() -> None:
    with pytest.raises(SpecError, match="check_s must be a positive number"):
        ResourceAgent({"gpu": 1}, check_s=0)


# alone, to the letter -------------------------------------------------------------------------------------------------
def lone(find: Callable[[Query], Any], clock: ManualClock) -> ResourceAgent:
    agent = ResourceAgent({"gpu": 1}, ids=CountingIds())
    agent.context = LoneHost(clock, find=find).context("resources")
    return agent


def test_nobody_is_taken_for_gone_while_the_registry_does_not_answer(clock: ManualClock) -> None:
    def find(query: Query) -> tuple[Registration, ...]:
        raise RuntimeUnavailableError("the root is being restarted")

    async def scene() -> None:
        agent = lone(find, clock)
        await agent.on_message(AcquireResource("gpu", 1, "a@1"))
        for _ in range(5):
            clock.advance(5.0)
            assert await agent.on_message(TickNow()) == 5.0
        details = agent.details()
        assert (details["reclaimed"], details["failed_checks"], details["resources"]["gpu"]["used"]) == (0, 5, 1)
        assert "being restarted" in details["last_error"]

    asyncio.run(scene())


def test_only_the_names_of_owners_are_looked_up(clock: ManualClock) -> None:
    queries: list[Query] = []

    def find(query: Query) -> tuple[Registration, ...]:
        queries.append(query)
        return (Registration("a", 1),)

    async def scene() -> None:
        agent = lone(find, clock)
        await agent.on_message(TickNow())
        assert queries == [], "nobody holds anything"
        clock.advance(5.0)
        await agent.on_message(AcquireResource("gpu", 1, "a@1"))
        await agent.on_message(TickNow())
        assert queries[0].where[0].value == {"a"}

    asyncio.run(scene())


def test_a_token_granted_in_the_moment_its_asker_gives_up_goes_to_the_next(clock: ManualClock) -> None:
    async def scene() -> None:
        agent = lone(lambda _: (), clock)
        token = await agent.on_message(AcquireResource("gpu", 1, "a@1"))
        asks = [AcquireResource("gpu", 1, owner, wait_s=20.0) for owner in ("b@1", "c@1")]
        second, third = (asyncio.create_task(agent.on_message(ask)) for ask in asks)
        await asyncio.sleep(0)
        assert await agent.serve(ReleaseResource(token.id))
        second.cancel()  # granted already, but its task did not run since
        assert (await third).owner == "c@1"
        assert second.cancelled()
        assert agent.details()["resources"]["gpu"]["holders"] == {"c@1": 1}

    asyncio.run(scene())


def test_who_waits_is_answered_when_its_owner_is_gone(clock: ManualClock) -> None:
    async def scene() -> None:
        agent = lone(lambda _: (Registration("a", 1), Registration("b", 2)), clock)
        await agent.on_message(AcquireResource("gpu", 1, "a@1"))
        ask = asyncio.create_task(agent.on_message(AcquireResource("gpu", 1, "b@1", wait_s=20.0)))
        await asyncio.sleep(0)
        await agent.on_message(TickNow())
        with pytest.raises(AgentStoppedError, match="'b@1' is gone: it waits for 'gpu' no more"):
            await ask

    asyncio.run(scene())
