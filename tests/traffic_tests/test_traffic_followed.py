"""A plan on its way: from a change in the store by the agent to the routers of replicas, all in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from served_programs import Tuned

from dspex_agents import ChildSpec, RuntimeUnavailableError, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_ray.calls.ledger_agent import LEDGER, LedgerAgent
from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError
from dspex_ray.serving.application import build_application
from dspex_ray.serving.plan_follower import PlanFollower
from dspex_ray.serving.program_service import ProgramServiceFor, pack_program
from dspex_ray.serving.version_loader import VersionLoader
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.store import Store, open_store
from dspex_ray.traffic.control import EndpointTraffic
from dspex_ray.traffic.plan import TrafficPlan
from dspex_ray.traffic.traffic_agent import TRAFFIC, TrafficAgent, WatchPlan

PATH = Tuned().path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Hold versions 1 to 3 of Tuned, of which version 3 does not fit the code any more."""
    opened = open_store(str(tmp_path / "store.db"))
    for share in (0.25, 0.5):
        opened.save_version(Tuned().with_values({"share": share}).state(), {}, now=1.0)
    opened.save_version({"program": PATH, "values": {"gone": 1}, "demo_pool": None, "lm": None}, {}, now=1.0)
    yield opened
    opened.database.close()


@pytest.fixture
def system(store: Store) -> Iterator[System]:
    started = start_system(store)
    yield started
    started.stop()


def start_system(store: Store) -> System:
    children = tuple(
        ChildSpec(id=name, start=start, kwargs={"store": open_store(store.database.url)})
        for name, start in ((LEDGER, LedgerAgent), (TRAFFIC, TrafficAgent))
    )
    return start_local_system(
        SystemSpec(name="traffic-only", supervisor=SupervisorSpec(id="supervisor", children=children))
    )


@pytest.fixture
def traffic(store: Store) -> EndpointTraffic:
    found = EndpointTraffic("tuned", store, by="ann")
    found.deployed(PATH, "1")
    return found


@asynccontextmanager
async def replica(system: Any, version: str = "1", revision: int = 0) -> AsyncIterator[httpx.AsyncClient]:
    """Run what a replica runs that was deployed with a version, and give a client of it."""
    program = Tuned().with_values({"share": 0.25})
    ask = partial(system.aask, LEDGER, timeout_s=10.0)
    router = VersionsRouter(
        version,
        ProgramServiceFor(program),
        plan=TrafficPlan.all_to(version),
        load=VersionLoader(pack_program(program), PATH, ask),
    )
    follower = PlanFollower("tuned", router, partial(system.aask, TRAFFIC, timeout_s=10.0), revision)
    app = build_application(router, name="tuned", version=version, followers=(follower,))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


async def told_by(client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get("/healthz")).json()["traffic"]
    return told


async def told_when(client: httpx.AsyncClient, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return what is told of the plan, once the condition holds of it."""
    async with asyncio.timeout(5):
        while not condition(told := await told_by(client)):  # noqa: ASYNC110 - it is asked over HTTP
            await asyncio.sleep(0.01)
    return told


async def shares_become(client: httpx.AsyncClient, expected: dict[str, float]) -> None:
    await told_when(client, lambda told: bool(told["shares"] == expected))


def test_a_change_reaches_every_replica_within_a_second_without_a_restart(
    system: System, traffic: EndpointTraffic
) -> None:
    async def work() -> None:
        async with replica(system) as one, replica(system) as other:
            traffic.split({"1": 0.5, "2": 0.5})
            async with asyncio.timeout(1):
                await asyncio.gather(*(shares_become(each, {"1": 0.5, "2": 0.5}) for each in (one, other)))
            answers = [await one.post("/", json={}) for _ in range(40)]
            told = {(answer.headers["x-dspex-version"], answer.json()["value"]) for answer in answers}
            assert told == {("1", 0.25), ("2", 0.5)}
            traffic.rollback()
            await shares_become(one, {"1": 1.0})

    asyncio.run(work())


def test_a_replica_that_starts_later_begins_with_the_plan_in_force(system: System, traffic: EndpointTraffic) -> None:
    async def work() -> None:
        traffic.split({"2": 1.0})
        async with replica(system) as client:
            assert (await client.post("/", json={})).headers["x-dspex-version"] == "2"

    asyncio.run(work())


def test_plans_from_before_the_deployment_are_not_followed(system: System, traffic: EndpointTraffic) -> None:
    async def work() -> None:
        traffic.split({"1": 0.5, "2": 0.5})
        async with replica(system, "9", revision=traffic.revision) as client:
            assert (await told_by(client))["shares"] == {"9": 1.0}
            traffic.split({"2": 1.0})
            await shares_become(client, {"2": 1.0})

    asyncio.run(work())


def test_a_version_that_does_not_fit_the_code_leaves_the_plan_before_in_force_until_there_is_a_better_one(
    system: System, traffic: EndpointTraffic
) -> None:
    async def work() -> None:
        async with replica(system) as client:
            traffic.split({"1": 0.5, "3": 0.5})
            told = await told_when(client, lambda told: "wrong" in told)
            assert told["shares"] == {"1": 1.0}
            assert "revision 2: Version '3' cannot be loaded" in told["wrong"]
            assert "gone" in told["wrong"]
            traffic.split({"1": 0.5, "2": 0.5})
            await shares_become(client, {"1": 0.5, "2": 0.5})
            assert "wrong" not in await told_by(client)

    asyncio.run(work())


def test_replicas_go_on_with_their_plan_while_nobody_can_be_asked_and_learn_of_the_next_one_then(
    store: Store, traffic: EndpointTraffic
) -> None:
    systems = [start_system(store)]

    class Now:
        """The way to whatever system runs now."""

        async def aask(self, agent: str, body: Any, **options: Any) -> Any:
            if not systems:
                raise RuntimeUnavailableError("no such system")
            return await systems[-1].aask(agent, body, **options)

    async def work() -> None:
        async with replica(Now()) as client:
            traffic.split({"1": 0.5, "2": 0.5})
            await shares_become(client, {"1": 0.5, "2": 0.5})
            await asyncio.to_thread(systems.pop().stop)
            traffic.split({"2": 1.0})
            assert {(await client.post("/", json={})).status_code for _ in range(20)} == {200}
            assert (await told_by(client))["shares"] == {"1": 0.5, "2": 0.5}
            systems.append(await asyncio.to_thread(start_system, store))
            await shares_become(client, {"2": 1.0})

    try:
        asyncio.run(work())
    finally:
        for each in systems:
            each.stop()


def test_the_agent_answers_nothing_when_there_is_no_news_and_forgets_who_waited(
    system: System, traffic: EndpointTraffic
) -> None:
    ask = partial(system.ask, TRAFFIC, timeout_s=5.0)
    assert ask(WatchPlan("tuned", 1, hold_s=0.01)) is None
    assert ask(WatchPlan("nobody", 0, hold_s=0.01)) is None
    assert ask(WatchPlan("tuned", 0, hold_s=5.0)).revision == 1
    assert system.status(TRAFFIC).details == {"tuned": {"revision": 1, "waiting": 0}}


def test_what_cannot_be_is_refused_before_anything_changes(traffic: EndpointTraffic, store: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"version of .*'7'"):
        traffic.split({"1": 0.5, "7": 0.5})
    with pytest.raises(ConfigurationError, match=r"the weights sum to 0\.9, not to 1"):
        traffic.split({"1": 0.5, "2": 0.4})
    with pytest.raises(ConfigurationError, match="share of shadow '2'"):
        traffic.shadow("2", 1.5)
    traffic.rule("team", header="X-Team", value="red", to="2")
    with pytest.raises(ConfigurationError, match="rules 'team' and 'other' overlap"):
        traffic.rule("other", header="x-team", value="red", to="1")
    with pytest.raises(ConfigurationError, match="sends to '2', which is no arm"):
        traffic.split({"1": 1.0})
    with pytest.raises(UsageError, match="no rule 'tem'; known: team"):
        traffic.remove_rule("tem")
    with pytest.raises(UnknownNameError, match="Unknown endpoint 'tune'"):
        EndpointTraffic("tune", store).split({"1": 1.0})
    assert traffic.revision == 2


def test_changes_leave_all_else_of_the_plan_as_it_is(traffic: EndpointTraffic) -> None:
    traffic.split({"1": 0.75, "2": 0.25}, sticky_header="X-User")
    traffic.rule("team", header="x-team", value="red", to="2")
    traffic.shadow("3", 0.5)
    plan = traffic.split({"1": 0.5, "2": 0.5}).plan
    assert plan.sticky_header == "x-user"
    assert ([rule.name for rule in plan.rules], [one.version for one in plan.shadows]) == (["team"], ["3"])
    assert traffic.shadow("3", 0).plan.shadows == ()
    assert traffic.remove_rule("team").plan.rules == ()


def test_a_version_may_be_named_by_its_label_and_is_kept_by_its_number(traffic: EndpointTraffic) -> None:
    assert traffic.split({"1": 0.5, "latest": 0.5}).plan.versions == ("1", "3")


def test_every_change_is_kept_with_who_and_why(traffic: EndpointTraffic) -> None:
    traffic.split({"1": 0.9, "2": 0.1}, why="a try")
    traffic.rollback(why="it was slow")
    told = [(one.kind, one.by, one.why) for one in traffic.history()]
    assert told == [
        ("deploy", "ann", "deployed version 1"),
        ("change", "ann", "a try"),
        ("rollback", "ann", "it was slow"),
    ]


def test_a_deployment_is_rolled_back_but_not_to_a_program_that_only_its_replicas_had(traffic: EndpointTraffic) -> None:
    traffic.deployed(PATH, "2")
    assert traffic.rollback().plan.versions == ("1",)
    traffic.deployed(PATH, "untuned")
    traffic.split({"untuned": 0.5, "1": 0.5})
    traffic.deployed(PATH, "2")
    with pytest.raises(UsageError, match="untuned"):
        traffic.rollback()
