"""The gate: who is let in, and what everybody else is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.clock import ManualClock
from dspex_ray.access.gate import Admitted, KeyGate
from dspex_ray.access.key_ring import KeyRing
from dspex_ray.access.keys import IssuedKey, KeyGrant, issued, rotated
from dspex_ray.access.limits import Limits
from dspex_ray.access.meter import Spent
from dspex_ray.serving.contract import Admission, Caller, Gate, RequestHead
from dspex_ray.serving.problem import Problem, of_status

NOW = 86_400.0 * 10
EXPIRED = issued(KeyGrant(expires_at=NOW - 1), NOW - 100)


def made(**grant: Any) -> IssuedKey:
    if "roles" in grant:
        grant["roles"] = frozenset(grant["roles"].split())
    return issued(KeyGrant(**grant), NOW - 10)


def gate(*keys: IssuedKey, **more: Any) -> KeyGate:
    tenants = more.pop("tenants", None)
    clock = more.pop("clock", None) or ManualClock(NOW)
    return KeyGate("route", KeyRing([one.key for one in keys], tenants), clock=clock, **more)


def asked(gate_: KeyGate, written: str | None, method: str = "POST", path: str = "/", **headers: str) -> Any:
    given = {} if written is None else {"authorization": f"Bearer {written}"}
    return asyncio.run(gate_.admit(RequestHead(method=method, path=path, headers={**given, **headers})))


def status(found: Any) -> int:
    return found.status if isinstance(found, Problem) else 200


def test_it_is_a_gate_and_lets_in_with_an_admission() -> None:
    one = made(tenant="acme", roles="invoke feedback")
    kept: Gate = gate(one)
    admission: Admission | Problem = asked(gate(one), one.written)
    assert isinstance(kept, KeyGate)
    assert isinstance(admission, Admitted)
    assert admission.caller == Caller(tenant="acme", key_id=one.key.id, roles=frozenset({"invoke", "feedback"}))
    assert one.written not in repr(admission.caller)


class TestWhoIsNobody:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": ""},
            {"authorization": "Bearer "},
            {"authorization": "Basic dXNlcjpwYXNz"},
            {"authorization": f"Bearer {made().written}"},
            {"authorization": f"Bearer {EXPIRED.written}"},
            {"authorization": "Bearer dspex_x_y"},
            {"authorization": "Bearer a.b.c"},
            {"x-api-key": "nonsense"},
            {"x-api-key": "d" * 100_000},
        ],
    )
    def test_one_answer_for_all_without_a_valid_key(self, headers: dict[str, str]) -> None:
        revoked = made()
        kept = gate(made(), EXPIRED, replace(revoked, key=replace(revoked.key, revoked_at=NOW)))
        found = asked(kept, None, **headers)
        assert found == asked(kept, revoked.written) == asked(kept, None)
        assert found.status == 401
        assert found.all_headers()["www-authenticate"].startswith("Bearer")

    @given(st.dictionaries(st.sampled_from(["authorization", "x-api-key", "x"]), st.text(max_size=50)))
    def test_no_header_that_is_no_key_lets_in_or_raises(self, headers: dict[str, str]) -> None:
        assert status(asked(gate(made()), None, **headers)) == 401


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {} "])
def test_both_headers_and_any_case_of_the_scheme_carry_a_key(form: str) -> None:
    one = made()
    assert status(asked(gate(one), None, authorization=form.format(one.written))) == 200
    assert status(asked(gate(one), None, **{"x-api-key": one.written})) == 200
    assert status(asked(gate(one), None, **{"authorization": "Basic x", "x-api-key": one.written})) == 200


def test_a_bearer_key_that_is_none_is_not_made_good_by_the_other_header() -> None:
    one = made()
    assert status(asked(gate(one), "dspex_x", **{"x-api-key": one.written})) == 401


@pytest.mark.parametrize(
    ("roles", "path", "expected"),
    [
        ("invoke", "/", 200),
        ("invoke", "/feedback", 403),
        ("feedback", "/", 403),
        ("feedback", "/feedback", 200),
        ("invoke feedback audit", "/traffic", 403),
        ("manage", "/traffic", 200),
        ("manage", "/", 403),
        ("audit", "/docs", 200),
    ],
)
def test_a_role_opens_what_it_is_for_and_nothing_else(roles: str, path: str, expected: int) -> None:
    one = made(roles=roles)
    assert status(asked(gate(one), one.written, path=path)) == expected


def test_a_key_for_other_endpoints_is_refused_here() -> None:
    one = made(endpoints=frozenset({"sort"}))
    found = asked(gate(one), one.written)
    assert (found.status, found.detail) == (403, "This key may not call the endpoint route.")


def test_an_endpoint_of_another_tenant_is_not_there_whatever_the_key_may() -> None:
    mine, theirs = made(tenant="acme"), made(tenant="other", roles="audit", endpoints=frozenset({"x"}))
    kept = gate(mine, theirs, owner="acme")
    assert status(asked(kept, mine.written)) == 200
    assert asked(kept, theirs.written) == of_status(404, "There is nothing here.", {})


class TestLimits:
    def test_a_rate_is_refused_with_the_time_to_wait_and_let_in_after_it(self) -> None:
        clock = ManualClock(NOW)
        one = made(limits=Limits(requests_per_second=0.25, burst=2))
        kept = gate(one, clock=clock)
        found = [asked(kept, one.written) for _ in range(3)]
        assert [status(each) for each in found] == [200, 200, 429]
        assert found[2].all_headers()["retry-after"] == "4"
        assert found[2].detail == "The limit of this key is 0.25 requests a second."
        clock.advance(4)
        assert status(asked(kept, one.written)) == 200

    def test_a_place_is_given_back_once_however_often_the_admission_is_closed(self) -> None:
        one = made(limits=Limits(concurrent_requests=2))
        kept = gate(one)
        first, second = asked(kept, one.written), asked(kept, one.written)
        found = asked(kept, one.written)
        assert (found.status, found.code) == (429, "concurrency-limit")
        for _ in range(3):
            first.close(0.0)
        assert [status(asked(kept, one.written)) for _ in range(2)] == [200, 429]
        assert isinstance(second, Admitted)

    def test_money_spent_is_refused_until_the_day_is_over(self) -> None:
        clock = ManualClock(NOW)
        one = made(limits=Limits(usd_per_day=0.5))
        kept = gate(one, clock=clock)
        asked(kept, one.written).close(0.5)
        found = asked(kept, one.written)
        assert (found.status, found.code) == (402, "quota-exceeded")
        assert found.members == {"limit": "$0.5 a day", "renews_at": "1970-01-12T00:00:00+00:00"}
        assert kept.spent() == [Spent("key", one.key.id, 10, 0.5)]
        clock.advance(86_400)
        assert status(asked(kept, one.written)) == 200

    def test_money_of_other_replicas_counts(self) -> None:
        one = made(tenant="acme", limits=Limits(usd_per_day=0.5))
        kept = gate(one, tenants={"acme": Limits(usd_per_day=0.9)})
        kept.hear([Spent("tenant", "acme", 10, 0.9), Spent("key", one.key.id, 10, 0.1), Spent("key", "gone", 10, 1.0)])
        found = asked(kept, one.written)
        assert (found.status, found.detail[:38]) == (402, "The limit of this tenant, $0.9 a day, ")

    def test_keys_of_a_tenant_share_its_limits_and_no_other_tenants(self) -> None:
        a, b, other = made(tenant="acme"), made(tenant="acme"), made(tenant="other")
        kept = gate(a, b, other, tenants={"acme": Limits(concurrent_requests=1)})
        assert [status(asked(kept, one.written)) for one in (a, b, other, other)] == [200, 429, 200, 200]

    def test_what_the_tenant_refuses_takes_nothing_of_the_key(self) -> None:
        clock = ManualClock(NOW)
        one, other = made(tenant="acme", limits=Limits(requests_per_second=0.001, burst=1)), made(tenant="acme")
        kept = gate(one, other, tenants={"acme": Limits(concurrent_requests=1)}, clock=clock)
        admission = asked(kept, other.written)
        assert status(asked(kept, one.written)) == 429
        admission.close(0.0)
        assert status(asked(kept, one.written)) == 200


class TestReplacement:
    def test_a_rotation_loses_no_request(self) -> None:
        clock = ManualClock(NOW)
        old = made()
        kept = gate(old, clock=clock)
        new = rotated(old.key, NOW, 60.0)
        kept.replace(KeyRing([new.key]))
        assert [status(asked(kept, one.written)) for one in (old, new)] == [200, 200]
        clock.advance(60)
        assert [status(asked(kept, one.written)) for one in (old, new)] == [401, 200]

    def test_a_revoked_key_is_refused_and_its_requests_under_way_end_in_peace(self) -> None:
        one = made(limits=Limits(concurrent_requests=5, usd_per_day=1.0))
        kept = gate(one)
        admission = asked(kept, one.written)
        kept.replace(KeyRing([replace(one.key, revoked_at=NOW, secrets=())]))
        assert status(asked(kept, one.written)) == 401
        admission.close(0.1)

    def test_limits_that_are_replaced_forget_nothing_that_is_taken(self) -> None:
        one = made(limits=Limits(concurrent_requests=2, usd_per_day=1.0))
        kept = gate(one)
        first = asked(kept, one.written)
        asked(kept, one.written)
        tighter = replace(one.key, grant=replace(one.key.grant, limits=Limits(concurrent_requests=1, usd_per_day=0.5)))
        kept.replace(KeyRing([tighter]))
        first.close(0.6)
        assert asked(kept, one.written).code == "quota-exceeded"

    def test_keys_come_and_go_while_others_are_asked_for(self) -> None:
        stays = made(limits=Limits(concurrent_requests=1000))
        kept = gate(stays)

        async def run() -> list[int]:
            async def ask() -> int:
                head = RequestHead(method="POST", path="/", headers={"x-api-key": stays.written})
                return status(await kept.admit(head))

            asks = []
            for n in range(100):
                asks.append(asyncio.create_task(ask()))
                kept.replace(KeyRing([stays.key, made().key]), replicas=1 + n % 3)
                await asyncio.sleep(0)
            return await asyncio.gather(*asks)

        assert set(asyncio.run(run())) == {200}

    def test_gates_hold_meters_of_keys_with_limits_only(self) -> None:
        keys = [made(limits=Limits(concurrent_requests=1)) if n % 2 else made() for n in range(10)]
        kept = gate(*keys)
        for one in keys:
            asked(kept, one.written)
        assert len(kept._meters) == 5
        kept.replace(KeyRing([one.key for one in keys[:2]]))
        assert len(kept._meters) == 1
