"""A system with a coordinator over two workers, for the suites of its runs."""

from __future__ import annotations

import threading
from typing import Any

from runtime_contract import spec_of
from team_agents import Held, Listener

from dspex_agents import ChildSpec, CoordinatorAgent, RunPlan, System, TaskAgent, start_local_system
from dspex_agents.teamwork.run_messages import GetRunStatus, UnknownRunError


def workers(worker: type = Held) -> list[ChildSpec]:
    kwargs = {"worker": worker, "concurrency": 4}
    return [ChildSpec(id=name, start=TaskAgent, kwargs=kwargs, host="tasks") for name in ("w1", "w2")]


def started(worker: type = Held, **options: Any) -> System:
    kwargs = {"members": ("w1", "w2"), "bus": "bus", **options}
    boss = ChildSpec(id="coord", start=CoordinatorAgent, kwargs=kwargs, host="boss")
    return start_local_system(spec_of(*workers(worker), ChildSpec(id="bus", start=Listener), boss))


def asked(system: System, order: RunPlan, **options: Any) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(system.ask("coord", order, **options))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


def status(system: System, run_id: str) -> Any:
    return system.ask("coord", GetRunStatus(run_id), control=True)


def heard(system: System) -> list[str]:
    return [kind for kind, _ in system.ask("bus", "heard")]


def status_or_none(system: System, run_id: str) -> str | None:
    """Return the run's status while the coordinator knows it."""
    try:
        return status(system, run_id).status
    except UnknownRunError:
        return None


def kill_host_of(system: System, agent: str, *, silently: bool = False) -> None:
    """End the agent's host. `silently`: its unfinished tasks are forgotten, as those of a killed process are."""
    root = system._root._target
    port = root._placement.route(agent).port
    if silently:
        cell = port._target._cells[agent]
        for entry in cell.agent._runs.index.under_way.values():
            entry.awaited = False  # a dead process cannot tell its runs that nobody asks any more
    port.kill()
