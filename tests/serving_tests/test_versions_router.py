"""Live versions under a plan: when they are loaded, kept and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from live_versions import Shelf, Told, router_of, until

from dspex_ray.errors import ProgramError
from dspex_ray.serving.contract import Caller, RequestHead
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.traffic.plan import Rule, TrafficPlan

HALF = TrafficPlan.split({"3": 0.5, "4": 0.5})


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def head(**headers: str) -> RequestHead:
    return RequestHead(method="POST", path="/", headers=headers)


def test_a_version_is_loaded_once_when_a_plan_first_names_it() -> None:
    async def work() -> None:
        shelf = Shelf()
        router = await router_of(HALF, shelf)
        await router.use(TrafficPlan.split({"3": 0.1, "4": 0.9}))
        assert [one.version for one in shelf.made] == ["4"]
        assert list(router.versions) == ["3", "4"]
        assert router.main == "4"

    run(work())


def test_a_version_that_no_plan_names_is_closed_once_no_request_uses_it() -> None:
    async def work() -> None:
        shelf = Shelf()
        router = await router_of(HALF, shelf)
        router.begin("4")
        await router.use(TrafficPlan.all_to("3"))
        assert list(router.versions) == ["3", "4"]
        assert not shelf.made[0].closed
        router.end("4")
        await until(lambda: shelf.made[0].closed)
        assert list(router.versions) == ["3"]

    run(work())


def test_a_version_that_is_named_again_while_a_request_uses_it_stays() -> None:
    async def work() -> None:
        shelf = Shelf()
        router = await router_of(HALF, shelf)
        router.begin("4")
        await router.use(TrafficPlan.all_to("3"))
        await router.use(HALF)
        router.end("4")
        await asyncio.sleep(0)
        assert [one.closed for one in shelf.made] == [False]
        assert router.begin("4") is shelf.made[0]

    run(work())


def test_a_version_that_leaves_while_another_is_loaded_is_loaded_again() -> None:
    async def work() -> None:
        shelf = Shelf()
        router = await router_of(HALF, shelf)
        router.begin("4")
        await router.use(TrafficPlan.all_to("3"))
        using = asyncio.create_task(router.use(TrafficPlan.split({"5": 0.5, "4": 0.5})))
        await asyncio.sleep(0)  # it loads version 5 now
        router.end("4")
        await using
        assert router.versions == ("3", "5", "4")
        assert [(one.version, one.closed) for one in shelf.made] == [("4", True), ("5", False), ("4", False)]

    run(work())


def test_the_carried_version_stays_whatever_plan_comes() -> None:
    async def work() -> None:
        router = await router_of(TrafficPlan.all_to("4"))
        assert list(router.versions) == ["3", "4"]
        await router.use(TrafficPlan.all_to("3"))
        assert list(router.versions) == ["3"]

    run(work())


def test_a_version_that_cannot_be_loaded_leaves_the_plan_before_in_force_and_nothing_behind() -> None:
    async def work() -> None:
        shelf = Shelf("5")
        router = await router_of(HALF, shelf)
        with pytest.raises(ProgramError, match="Version '5' cannot be loaded: no such tokenizer file"):
            await router.use(TrafficPlan.split({"3": 0.2, "6": 0.4, "5": 0.4}))
        assert list(router.versions) == ["3", "4"]
        assert router.status()["shares"] == {"3": 0.5, "4": 0.5}
        assert [(one.version, one.closed) for one in shelf.made] == [("4", False), ("6", True)]

    run(work())


def test_without_a_way_to_other_versions_only_the_carried_one_can_be_named() -> None:
    router = VersionsRouter("v 1", Told("v 1"))
    assert router.route(head(), Caller(), "r").version == "v 1"
    assert router.status() == {}
    with pytest.raises(ProgramError, match="there is 'v 1' only here"):
        asyncio.run(router.use(TrafficPlan.all_to("2")))


def test_a_rule_decides_although_one_arm_has_all_the_weight() -> None:
    async def work() -> None:
        rule = Rule(name="team", header="x-team", value="red", arm="4")
        router = await router_of(TrafficPlan.split({"3": 1.0, "4": 0.0}, rules=(rule,)))
        assert router.route(head(), Caller(), "r").version == "3"
        assert router.route(head(**{"x-team": "red"}), Caller(), "r").version == "4"

    run(work())


def test_all_services_are_closed_at_the_end_and_one_that_cannot_harms_no_other() -> None:
    class Stubborn(Told):
        async def aclose(self) -> None:
            raise OSError("already gone")

    async def work() -> None:
        shelf = Shelf()
        router = VersionsRouter("3", Stubborn("3"), load=shelf)
        await router.use(HALF)
        await router.aclose()
        assert shelf.made[0].closed

    run(work())
