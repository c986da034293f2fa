"""How long a whole system takes to be ready: three roles and four task agents, as `to_agent_system` lays them out."""

from __future__ import annotations

import time

from harness import Row, alternate, median

from agents_bench.agents import Echo, EchoWorker
from agents_bench.bare_ray import bare_start_s
from dspex_agents import ChildSpec, CoordinatorAgent, MonitorAgent, SupervisorSpec, SystemSpec, TaskAgent
from dspex_agents.runtime.ray_runtime import cool_down, start_ray_system, warm_up
from dspex_agents.supervision.child_spec import Isolation

_MEMBERS = ("task-1", "task-2", "task-3", "task-4")
_SETTLE_S = 1.0  # the processes of the round before are gone


def measure(rounds: int) -> list[Row]:
    """Return the rows of the time until every agent is up, with a warm pool and without; then the pool is gone again.

    The cluster has run such systems before.
    """
    layouts: dict[str, tuple[SystemSpec, int]] = {
        "a process for each task agent": (_spec("own"), len(_MEMBERS) + 3),  # and the root, the roles' host, the spare
        "task agents in one process": (_spec("shared"), 3),
    }
    rows = []
    for layout, (spec, processes) in layouts.items():
        sides = {
            "cold": lambda spec=spec: _until_ready(spec),
            "bare": lambda count=processes: _bare_until_ready(count),
        }
        figures = alternate(sides, rounds)
        warm = alternate({"warm": lambda spec=spec, count=processes: _until_ready_warm(spec, count)}, rounds)["warm"]
        cool_down()
        value = median(warm)
        peers = {
            "fastest, ms": min(warm),
            "slowest, ms": max(warm),
            "without the pool, ms": median(figures["cold"]),
            f"bare Ray, {processes} actors, ms": median(figures["bare"]),
        }
        measure = (
            f"a system of 3 roles and 4 task agents, {layout}, warm cluster (its pool has the processes), until ready"
        )
        rows.append(Row(measure, value, "ms", "at most 500", value <= 500, peers))
    return rows


def _spec(isolation: Isolation) -> SystemSpec:
    tasks = (
        ChildSpec(id=name, start=TaskAgent, kwargs={"worker": EchoWorker}, isolation=isolation, host="tasks")
        for name in _MEMBERS
    )
    children = (
        ChildSpec(id="ledger", start=Echo),
        *tasks,
        ChildSpec(id="coordinator", start=CoordinatorAgent, kwargs={"members": _MEMBERS}),
        ChildSpec(id="monitor", start=MonitorAgent),
    )
    supervisor = SupervisorSpec(id="supervisor", children=children)
    spares = 1 if isolation == "own" else 0
    return SystemSpec(name=f"bench-{isolation}", supervisor=supervisor, spare_hosts=spares)


def _until_ready(spec: SystemSpec) -> float:
    time.sleep(_SETTLE_S)
    started = time.perf_counter()
    with start_ray_system(spec) as system:
        ready = time.perf_counter()
        assert {leaf.status for leaf in system.tree().agents()} <= {"idle", "running"}
    return round(1000 * (ready - started), 1)


def _until_ready_warm(spec: SystemSpec, processes: int) -> float:
    warm_up(processes - 1, roots=1)  # returns when what the round before took is replaced
    return _until_ready(spec)


def _bare_until_ready(actors: int) -> float:
    time.sleep(_SETTLE_S)
    return round(1000 * bare_start_s(actors), 1)
