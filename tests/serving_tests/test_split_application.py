"""Several versions behind one application: who answers, who looks on, and what is told of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from live_versions import Rows, Shelf, Told, Witnessed, client_of, router_of, until

from dspex_ray.serving.contract import Caller, RequestHead
from dspex_ray.serving.problem import Problem
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.traffic.plan import Rule, Shadow, TrafficPlan

HALF = TrafficPlan.split({"3": 0.5, "4": 0.5}, sticky_header="x-user")
LOOKED_ON = TrafficPlan(arms=TrafficPlan.all_to("3").arms, shadows=(Shadow(version="4"),))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_every_answer_names_the_version_and_the_arm_that_gave_it() -> None:
    async def work() -> None:
        async with client_of(await router_of(HALF)) as client:
            answers = [await client.post("/", json={}, headers={"x-user": f"u{n}"}) for n in range(40)]
        assert {answer.json()["version"] for answer in answers} == {"3", "4"}
        assert all(answer.headers["x-dspex-version"] == answer.json()["version"] for answer in answers)
        assert all(answer.headers["x-dspex-arm"] == answer.json()["version"] for answer in answers)

    run(work())


def test_a_user_gets_the_same_version_each_time_streamed_or_not() -> None:
    async def work() -> None:
        async with client_of(await router_of(HALF)) as client:
            for user in map(str, range(10)):
                asked = [client.post(path, json={}, headers={"x-user": user}) for path in ("/", "/stream") * 5]
                assert len({(await one).headers["x-dspex-version"] for one in asked}) == 1

    run(work())


def test_a_rule_sends_to_a_version_without_weight_and_problems_name_it_too() -> None:
    async def work() -> None:
        rule = Rule(name="team", header="x-team", value="red", arm="4")
        router = await router_of(TrafficPlan.split({"3": 1.0, "4": 0.0}, rules=(rule,)))
        async with client_of(router) as client:
            red = {"X-Team": "red"}
            assert (await client.post("/", json={}, headers=red)).json()["version"] == "4"
            broken = await client.post("/", json={"fail": "4"}, headers=red)
            assert (broken.status_code, broken.headers["x-dspex-version"]) == (500, "4")
            assert (await client.post("/", json={})).json()["version"] == "3"

    run(work())


def test_a_request_that_began_keeps_its_version_through_a_change() -> None:
    async def work() -> None:
        shelf = Shelf()
        router = await router_of(TrafficPlan.all_to("4"), shelf)
        async with client_of(router) as client:
            asking = asyncio.create_task(client.post("/", json={"wait": "4"}))
            await shelf.made[0].waiting.wait()
            await router.use(TrafficPlan.all_to("3"))
            assert (await client.post("/", json={})).json()["version"] == "3"
            shelf.made[0].released.set()
            assert (await asking).json() == {"version": "4", "closed": False}
        await until(lambda: shelf.made[0].closed)

    run(work())


def test_no_request_fails_while_the_plan_changes_all_the_time() -> None:
    async def work() -> None:
        router, seen, stop = await router_of(HALF), Counter[int](), asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                seen[(await client.post("/", json={})).status_code] += 1
                await asyncio.sleep(0)  # nothing in an answer of this kind lets others run

        async with client_of(router) as client, asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(ask())
            for turn in range(60):
                await router.use(TrafficPlan.split({str(3 + turn % 3): 0.5, str(6 + turn % 4): 0.5}))
                await asyncio.sleep(0.002)
            stop.set()
        assert set(seen) == {200}
        await until(lambda: len(router.versions) <= 3)

    run(work())


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_a_shadow_gets_a_copy_and_its_calls_are_its_own(path: str) -> None:
    async def work() -> None:
        rows, witness, shelf = Rows(), Witnessed(), Shelf()
        async with client_of(await router_of(LOOKED_ON, shelf), ledger=rows, witness=witness) as client:
            answer = await client.post(path, json={}, headers={"x-request-id": "mine"})
            await until(lambda: len(witness) == 2)
        assert answer.headers["x-dspex-version"] == "3"
        assert [(row["request_id"], row["version"]) for row in rows] == [("mine", "3"), ("mine/shadow", "4")]
        assert [(one.version, one.shadow, one.status) for one in witness] == [("3", False, 200), ("4", True, 200)]

    run(work())


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_a_request_that_fails_is_copied_too_but_not_one_that_is_no_input(path: str) -> None:
    async def work() -> None:
        witness = Witnessed()
        async with client_of(await router_of(LOOKED_ON), witness=witness) as client:
            await client.post(path, json=[1])
            await client.post(path, json={"fail": "3"})
            await until(lambda: len(witness) == 3)
        assert [(one.version, one.shadow, one.status) for one in witness] == [
            ("3", False, 422),
            ("3", False, 500),
            ("4", True, 200),
        ]

    run(work())


def test_what_a_shadow_does_wrong_reaches_nobody_and_takes_no_time() -> None:
    async def work() -> None:
        witness, shelf = Witnessed(), Shelf()
        async with client_of(await router_of(LOOKED_ON, shelf), witness=witness) as client:
            assert (await client.post("/", json={"fail": "4"})).status_code == 200
            await until(lambda: len(witness) == 2)
            assert (witness[1].status, witness[1].error) == (500, "internal")
            assert (await client.post("/", json={"wait": "4"})).status_code == 200  # the shadow still waits
            assert len(witness) == 3
            shelf.made[0].released.set()
            await until(lambda: len(witness) == 4)

    run(work())


def test_shadows_beyond_the_bound_are_left_out_and_counted() -> None:
    async def work() -> None:
        shelf = Shelf()
        async with client_of(await router_of(LOOKED_ON, shelf)) as client:
            answers = await asyncio.gather(*(client.post("/", json={"wait": "4"}) for _ in range(70)))
            assert {answer.status_code for answer in answers} == {200}
            await until(lambda: shelf.made[0].asked == 64)
            assert (await client.get("/healthz")).json()["traffic"]["shadows_left_out"] == 6
            shelf.made[0].released.set()

    run(work())


def test_health_tells_the_shares_and_the_main_version() -> None:
    async def work() -> None:
        plan = TrafficPlan.split({"3": 0.25, "4": 0.75}, shadows=(Shadow(version="5", share=0.5),))
        async with client_of(await router_of(plan)) as client:
            told = (await client.get("/healthz")).json()
        assert told["version"] == "4"
        shares = {"shares": {"3": 0.25, "4": 0.75}, "shadows": {"5": 0.5}}
        assert told["traffic"] == {"revision": 0, **shares, "shadows_left_out": 0}

    run(work())


class Keys:
    """A gate that lets in who says a tenant, and counts what is open and what was spent."""

    def __init__(self) -> None:
        self.open, self.spent = 0, list[float | None]()

    async def admit(self, head: RequestHead) -> Any:
        if head.headers.get("x-break"):
            raise OSError("the store of keys is gone")
        tenant = head.headers.get("x-tenant")
        if tenant is None:
            return Problem(code="no-key", status=401, title="No key", detail=f"{head.method} {head.path} needs a key.")
        self.open += 1
        return Admitted(self, Caller(tenant=tenant, user=head.headers.get("x-user")))


class Admitted:
    def __init__(self, keys: Keys, caller: Caller) -> None:
        self._keys, self.caller = keys, caller

    def close(self, cost_usd: float | None) -> None:
        self._keys.open -= 1
        self._keys.spent.append(cost_usd)


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_whom_the_gate_turns_away_reaches_no_program(path: str) -> None:
    async def work() -> None:
        service, keys = Told("3"), Keys()
        async with client_of(VersionsRouter("3", service), gate=keys) as client:
            refused = await client.post(path, json={})
            broken = await client.post(path, json={}, headers={"x-break": "1"})
        assert (refused.status_code, refused.json()["detail"]) == (401, f"POST {path} needs a key.")
        assert broken.status_code == 500
        assert (service.asked, keys.open) == (0, 0)

    run(work())


@pytest.mark.parametrize("path", ["/", "/stream"])
@pytest.mark.parametrize("body", [b"{}", b'{"fail": "3"}', b"[", b'{"fail": "3"'])
def test_an_admission_is_closed_once_whatever_comes_of_the_request(path: str, body: bytes) -> None:
    async def work() -> None:
        keys = Keys()
        headers = {"x-tenant": "acme", "content-type": "application/json"}
        async with client_of(VersionsRouter("3", Told("3")), gate=keys) as client:
            await client.post(path, content=body, headers=headers)
        assert (keys.open, len(keys.spent)) == (0, 1)

    run(work())


def test_the_witness_sees_who_asked_what_it_cost_and_what_came_of_it() -> None:
    async def work() -> None:
        witness = Witnessed()
        headers = {"x-tenant": "acme", "x-user": "ann"}
        async with client_of(await router_of(HALF), gate=Keys(), witness=witness) as client:
            await client.post("/", json={}, headers=headers)
            await client.post("/", json=[], headers=headers)
            await client.post("/stream", json={}, headers=headers)
        assert [(one.status, one.error, one.tokens) for one in witness] == [
            (200, None, 7),
            (422, "invalid-input", 0),
            (200, None, 7),
        ]
        assert {(one.caller.tenant, one.caller.user, one.endpoint, one.arm) for one in witness} == {
            ("acme", "ann", "shop", witness[0].version)
        }
        assert witness[0].cost_usd == 0.001
        assert witness[0].latency_s >= 0

    run(work())


def test_a_client_that_leaves_is_no_failure_of_the_version_and_frees_it() -> None:
    async def work() -> None:
        witness, shelf = Witnessed(), Shelf()
        router = await router_of(TrafficPlan.all_to("4"), shelf)
        async with client_of(router, witness=witness) as client:
            asking = asyncio.create_task(client.post("/", json={"wait": "4"}))
            await shelf.made[0].waiting.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert [(one.status, one.error) for one in witness] == [(499, "client-left")]
        await router.use(TrafficPlan.all_to("3"))
        await until(lambda: shelf.made[0].closed)

    run(work())
