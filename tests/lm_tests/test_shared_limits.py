"""Limits of a model shared by the agents of a system through one `ModelLimitsAgent`, over real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dspex_agents import ChildSpec, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.agent import Agent
from dspex_agents.errors import AgentFailedError
from dspex_ray.errors import LMRateLimitError
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.limits.lender import MODEL_LIMITS, SHARED_LENDER, AgentLender
from dspex_ray.lm.limits.limits_agent import ModelLimitsAgent
from dspex_ray.lm.limits.slices import Slice, TakeSlice
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.testing.lm_contract import ask
from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer


@dataclass(frozen=True)
class MakeCalls:
    """Make so many calls at once."""

    calls: int
    timeout_s: float = 30.0


class Worker(Agent):
    """Has a client of its own, as a process of its own would have."""

    def __init__(self, base_url: str, limits: LMLimits) -> None:
        self._lm = OpenAICompatibleLM(
            "vllm/shared", wire_model="m", base_url=base_url, api_key=None, price=None, limits=limits
        )

    async def on_start(self) -> None:
        self._lender = AgentLender(self.context)
        SHARED_LENDER.offer(self._lender)

    async def on_message(self, body: MakeCalls) -> int:
        calls = (self._lm.complete(ask(f"{n}", timeout_s=body.timeout_s)) for n in range(body.calls))
        return len(await asyncio.gather(*calls))

    async def on_stop(self, reason: str) -> None:
        await self._lm.aclose()
        SHARED_LENDER.withdraw(self._lender)


@contextmanager
def sharing(server: ModelServer, limits: LMLimits, workers: int = 4) -> Iterator[System]:
    arguments = {"base_url": server.base_url, "limits": limits}
    children = (
        ChildSpec(id=MODEL_LIMITS, start=ModelLimitsAgent),
        *(ChildSpec(id=f"worker-{n}", start=Worker, kwargs=arguments) for n in range(workers)),
    )
    spec = SystemSpec(name="shared-limits", supervisor=SupervisorSpec(id="top", children=children))
    with start_local_system(spec) as system:
        yield system


def together(system: System, calls: MakeCalls, workers: int = 4) -> list[int]:
    async def all_ask() -> list[int]:
        asked = (asyncio.to_thread(system.ask, f"worker-{n}", calls, timeout_s=60.0) for n in range(workers))
        return list(await asyncio.gather(*asked))

    return asyncio.run(all_ask())


def limits_shown(system: System) -> dict[str, Any]:
    details = system.status(MODEL_LIMITS).details
    return dict(next(iter(details.values())))


def test_clients_together_never_open_more_requests_than_the_cap_and_use_it() -> None:
    with (
        ModelServer(weather=Weather(latency=0.05)) as server,
        sharing(server, LMLimits(concurrency=6)) as system,
    ):
        assert together(system, MakeCalls(20)) == [20] * 4
        counted = server.counters()
        assert counted["answered"] == 80
        assert 4 <= counted["max_in_flight"] <= 6
        deadline = time.monotonic() + 10.0
        while limits_shown(system)["places"]:
            assert time.monotonic() < deadline, "idle clients must give their places back"
            time.sleep(0.05)


def test_clients_together_keep_the_pace_with_few_messages() -> None:
    limits = LMLimits(requests_per_minute=3000)
    with ModelServer() as server, sharing(server, limits) as system:
        started = time.monotonic()
        assert together(system, MakeCalls(45)) == [45] * 4
        took_s = time.monotonic() - started
        assert server.counters()["requests"] == 180
        assert took_s >= 0.9 * (180 - 150) * 63 / 2850  # a twentieth of a minute's at once, the others at the pace
        assert limits_shown(system)["asked"] <= 120


def test_a_client_goes_on_when_the_agent_that_offered_the_lender_last_has_ended() -> None:
    with ModelServer() as server, sharing(server, LMLimits(requests_per_minute=6000), workers=2) as system:
        assert together(system, MakeCalls(5), workers=2) == [5, 5]
        system.stop_child("worker-1")
        assert system.ask("worker-0", MakeCalls(320), timeout_s=60.0) == 320
    assert not SHARED_LENDER.is_there


def test_a_call_that_the_shared_limit_would_keep_too_long_is_refused_at_once() -> None:
    with ModelServer() as server, sharing(server, LMLimits(requests_per_minute=2), workers=1) as system:
        with pytest.raises(AgentFailedError, match="is at its limit") as caught:
            system.ask("worker-0", MakeCalls(3, timeout_s=5.0))
        assert isinstance(caught.value.cause, LMRateLimitError)
        assert server.counters()["requests"] <= 2


def test_the_agent_takes_no_other_message_and_tells_its_limits() -> None:
    with ModelServer() as server, sharing(server, LMLimits(), workers=1) as system:
        with pytest.raises(AgentFailedError, match="ModelLimitsAgent takes no message of type str"):
            system.ask(MODEL_LIMITS, "hello")
        limits = LMLimits(concurrency=3)
        ask_for = TakeSlice(model="m", limits=limits, holder="me", places=5)
        assert system.ask(MODEL_LIMITS, ask_for, control=True) == Slice(places=3)
        assert limits_shown(system) == {"limits": str(limits), "places": {"me": 3}, "asked": 1}
