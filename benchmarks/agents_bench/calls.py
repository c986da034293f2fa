"""Messages: driver to agent, agent to agent in one host and in two, beside bare Ray, pykka and xoscar."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from harness import Row, alternate, median

from agents_bench.agents import AT_ONCE, BODY, Echo, GetPid, Receiver, Run, Sender
from agents_bench.bare_ray import BareAsync, BareAsyncSender, BareSender, BareSync
from agents_bench.side import Side
from dspex_agents import ChildSpec, SupervisorSpec, System, SystemSpec
from dspex_agents.runtime.ray_runtime import start_ray_system

_ANSWER_S = 180.0
_Sides = dict[str, Callable[[], float]]


def measure(rounds: int) -> list[Row]:
    """Return the rows of asks and tells."""
    children = (
        ChildSpec(id="near", start=Receiver, host="one"),
        ChildSpec(id="sender", start=Sender, host="one"),
        ChildSpec(id="far", start=Receiver, host="two"),
        ChildSpec(id="echo", start=Echo, host="two"),
    )
    spec = SystemSpec(name="bench-calls", supervisor=SupervisorSpec(id="top", children=children))
    with (
        start_ray_system(spec) as system,
        Side("agents_bench.xoscar_side") as xoscar,
    ):
        pids = {system.ask(name, GetPid()) for name in ("sender", "echo")}
        assert len(pids) == 2
        rows = [_driver_to_agent(system, 2 * rounds)]
        rows += _two_hosts(system, xoscar, rounds)
        rows += _one_host(system, xoscar, rounds)
    return rows


def _driver_to_agent(system: System, rounds: int) -> Row:
    """Compare one blocking question at a time with one blocking call of an async actor."""
    bare, count = BareAsync.remote(), 200

    def ms_each(call: Callable[[], Any]) -> float:
        started = time.perf_counter()
        for _ in range(count):
            call()
        return 1000 * (time.perf_counter() - started) / count

    ray.get(bare.answer.remote(BODY))
    figures = alternate(
        {
            "ask": lambda: ms_each(lambda: system.ask("echo", BODY)),
            "bare": lambda: ms_each(lambda: ray.get(bare.answer.remote(BODY))),
        },
        rounds,
    )
    ray.kill(bare)
    value = median([ours / theirs for ours, theirs in zip(figures["ask"], figures["bare"], strict=True)])
    peers = {"ask, ms": median(figures["ask"]), "bare Ray async actor call, ms": median(figures["bare"])}
    return Row(
        "ask, one at a time, driver to agent, against a bare Ray call", value, "x", "at most 1.10", value <= 1.1, peers
    )


def _two_hosts(system: System, xoscar: Side, rounds: int) -> list[Row]:
    """Compare messages between two processes: told in a stream, asked many at once, asked one at a time."""
    sender, async_sender, to, async_to = (
        BareSender.remote(),
        BareAsyncSender.remote(),
        BareSync.remote(),
        BareAsync.remote(),
    )
    told = _rates(
        {
            "ours": _ours(system, "tell", "far", 100_000),
            "bare Ray, results fetched": lambda: ray.get(sender.fetched.remote(to, 2000)),
            "bare Ray, results not fetched": lambda: ray.get(sender.unfetched.remote(to, 2000)),
            "xoscar": _theirs(xoscar, "remote tell", 10_000),
            "xoscar, 100 a batch made by hand": _theirs(xoscar, "remote batch", 40_000),
        },
        rounds,
    )
    at_once = _rates(
        {
            "ours": _ours(system, "asks", "far", 40 * AT_ONCE),
            "bare Ray": lambda: ray.get(async_sender.asks.remote(async_to, 8 * AT_ONCE, AT_ONCE)),
            "xoscar": _theirs(xoscar, "remote asks", 20 * AT_ONCE),
        },
        rounds,
    )
    singly = _rates(
        {
            "ours": _ours(system, "ask", "far", 400),
            "bare Ray": lambda: ray.get(async_sender.asks.remote(async_to, 400, 1)),
            "xoscar": _theirs(xoscar, "remote ask", 1000),
        },
        rounds,
    )
    for actor in (sender, async_sender, to, async_to):
        ray.kill(actor)
    ours, bare = told["ours"], max(told["bare Ray, results fetched"], told["bare Ray, results not fetched"])
    factor = round(ours / bare, 4)
    return [
        Row(
            "agent to agent on two hosts, streaming",
            ours,
            "messages/s",
            "at least 30,000",
            ours >= 30_000,
            _others(told),
        ),
        Row("the same against bare Ray calls, its quicker way", factor, "x", "at least 20", factor >= 20),
        Row(
            f"agent to agent on two hosts, {AT_ONCE} asks at once",
            at_once["ours"],
            "messages/s",
            peers=_others(at_once),
        ),
        Row("agent to agent on two hosts, asks one at a time", singly["ours"], "messages/s", peers=_others(singly)),
    ]


def _one_host(system: System, xoscar: Side, rounds: int) -> list[Row]:
    """Compare messages within one process. Which of pykka's two ways is quicker depends on the machine's load."""
    with (
        Side("agents_bench.pykka_side") as pykka,
        Side("agents_bench.pykka_side", one_core=True) as pinned,
    ):
        told = _rates(
            {
                "ours": _ours(system, "tell", "near", 50_000),
                "pykka": _theirs(pykka, "tell", 50_000),
                "pykka on one core": _theirs(pinned, "tell", 50_000),
                "xoscar": _theirs(xoscar, "tell", 50_000),
            },
            rounds,
        )
        asked = _rates(
            {
                "ours": _ours(system, "ask", "near", 10_000),
                "pykka": _theirs(pykka, "ask", 10_000),
                "pykka on one core": _theirs(pinned, "ask", 10_000),
                "xoscar": _theirs(xoscar, "ask", 50_000),
            },
            rounds,
        )
    return [
        Row(
            f"agent to agent in one host, {how}",
            rates["ours"],
            "messages/s",
            "at least pykka's, its quicker way",
            rates["ours"] >= max(rates["pykka"], rates["pykka on one core"]),
            _others(rates),
        )
        for how, rates in (("asks one at a time", asked), ("streaming", told))
    ]


def _rates(sides: _Sides, rounds: int) -> dict[str, float]:
    return {name: round(median(rates), 1) for name, rates in alternate(sides, rounds).items()}


def _others(rates: Mapping[str, float]) -> dict[str, float]:
    return {name: rate for name, rate in rates.items() if name != "ours"}


def _ours(system: System, how: str, to: str, count: int) -> Callable[[], float]:
    def rate() -> float:
        measured: float = system.ask("sender", Run(how, to, count), timeout_s=_ANSWER_S)
        return measured

    return rate


def _theirs(side: Side, what: str, count: int) -> Callable[[], float]:
    return lambda: side.measure(what, count)["rate"]
