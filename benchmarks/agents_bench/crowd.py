"""Ten thousand light agents at once: their start, their answers, the memory of one, their return after a kill."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import ray
from harness import Row, percentile, resident_bytes

from agents_bench.agents import AskEach, Echo, GetPid, Sender
from agents_bench.side import Figures, Side
from dspex_agents import ChildSpec, SupervisorSpec, System, SystemSpec
from dspex_agents.runtime.ray_runtime import NAMESPACE, start_ray_system
from dspex_agents.supervision.child_spec import HostGroup

_NAME = "bench-crowd"
_WARM_UP = 100
_PYKKA_ACTORS = 2000  # each is a thread
_WITHIN_S = 300.0
_KIB = 1024


def measure(count: int) -> list[Row]:
    """Return the rows of many agents."""
    crowd = SupervisorSpec(id="crowd", max_children=2 * count)
    asker = ChildSpec(id="asker", start=Sender, host="asker")
    spec = SystemSpec(
        name=_NAME,
        supervisor=SupervisorSpec(id="top", children=(crowd, asker)),
        hosts=(HostGroup(name="crowd", most_agents=2 * count),),
    )
    with start_ray_system(spec) as system:
        figures = _live(system, count)
    with Side("agents_bench.pykka_side") as side:
        pykka = side.measure("crowd", _PYKKA_ACTORS)
    with Side("agents_bench.xoscar_side") as side:
        xoscar = side.measure("crowd", count)
    return _rows(count, figures, pykka, xoscar)


def _live(system: System, count: int) -> Figures:
    figures: Figures = {}
    system.start_children("crowd", _specs("early", _WARM_UP), timeout_s=_WITHIN_S)
    _ask_each(system, "early", _WARM_UP)
    pids = {"host": system.ask("early-0", GetPid()), "root": _root_pid()}
    before = {name: resident_bytes(pid) for name, pid in pids.items()}

    started = time.perf_counter()
    system.start_children("crowd", _specs("light", count), timeout_s=_WITHIN_S)
    figures["start_s"] = time.perf_counter() - started
    figures["fresh_bytes"] = sum(resident_bytes(pid) - before[name] for name, pid in pids.items()) / count
    figures["answer_s"] = _ask_each(system, "light", count)
    for name, pid in pids.items():
        figures[f"{name}_bytes"] = (resident_bytes(pid) - before[name]) / count
    figures["again_s"] = _ask_each(system, "light", count)
    assert system.ask("light-0", GetPid()) == pids["host"]

    trees = []
    for _ in range(5):
        started = time.perf_counter()
        assert len(system.tree(timeout_s=_WITHIN_S).agents()) == _WARM_UP + count + 1
        trees.append(time.perf_counter() - started)
    figures["tree_s"] = percentile(trees, 0.5)

    started = time.perf_counter()
    os.kill(pids["host"], signal.SIGKILL)
    system.ask("asker", AskEach(_names("light", count)), timeout_s=_WITHIN_S)
    figures["return_s"] = time.perf_counter() - started
    return figures


def _rows(count: int, ours: Figures, pykka: Figures, xoscar: Figures) -> list[Row]:
    kib = (ours["host_bytes"] + ours["root_bytes"]) / _KIB
    memory = {
        "of it in the host": ours["host_bytes"] / _KIB,
        "of it in the root": ours["root_bytes"] / _KIB,
        "before its first answer": ours["fresh_bytes"] / _KIB,
        f"pykka, {_PYKKA_ACTORS} actors": pykka["bytes"] / _KIB,
        f"xoscar, {count} actors": xoscar["bytes"] / _KIB,
    }
    started = {"pykka": _PYKKA_ACTORS / pykka["start_s"], "xoscar": count / xoscar["start_s"]}
    answered = {
        "names known": count / ours["again_s"],
        "pykka, within the process": _PYKKA_ACTORS / pykka["answer_s"],
        "xoscar": count / xoscar["answer_s"],
    }
    many = f"{count:,} light agents"
    return [
        Row(
            f"memory per idle light agent, of {count:,}",
            round(kib, 2),
            "KiB",
            "at most 10",
            kib <= 10,
            _rounded(memory, 2),
        ),
        Row(f"{many}, start", round(count / ours["start_s"], 1), "agents/s", peers=_rounded(started)),
        Row(
            f"{many}, one answer of each, names resolved",
            round(count / ours["answer_s"], 1),
            "answers/s",
            peers=_rounded(answered),
        ),
        Row(f"{many}, tree()", round(ours["tree_s"], 3), "s"),
        Row(f"{many}, kill -9 of their process until each has answered", round(ours["return_s"], 2), "s"),
    ]


def _rounded(figures: Figures, digits: int = 1) -> dict[str, Any]:
    return {name: round(value, digits) for name, value in figures.items()}


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def _specs(prefix: str, count: int) -> list[ChildSpec]:
    return [ChildSpec(id=name, start=Echo, host="crowd") for name in _names(prefix, count)]


def _ask_each(system: System, prefix: str, count: int) -> float:
    seconds: float = system.ask("asker", AskEach(_names(prefix, count)), timeout_s=_WITHIN_S)
    return seconds


def _root_pid() -> int:
    root = ray.get_actor(_NAME, namespace=NAMESPACE)
    return int(ray.get(root.__ray_call__.remote(lambda _: os.getpid())))
