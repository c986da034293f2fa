"""Discovery in a running system: what agents do shows in what others find."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dspex_agents import ChildSpec, SpecError, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.agent import Agent
from dspex_agents.errors import AgentFailedError
from dspex_agents.supervision.registry import Registration

GATE_TIMEOUT_S = 20.0


class Worker(Agent):
    """Says what it needs while it starts; "wait" lasts until the gate opens, a mapping changes its registration."""

    capabilities = frozenset({"work"})

    def __init__(self, gate: threading.Event, health: str = "healthy") -> None:
        self._gate, self._health = gate, health

    async def on_start(self) -> None:
        await self.context.update(health=self._health, metadata={"model": {"size": 7}})

    async def on_message(self, body: Any) -> Any:
        if body == "wait":
            return await self.context.run_blocking(self._gate.wait, GATE_TIMEOUT_S)
        return await self.context.update(**body)


class Leader(Agent):
    """Gives a unit of work to whoever is least loaded, as the registry says, and does not wait for it."""

    async def on_message(self, body: Any) -> str:
        (pick,) = await self.context.find(capabilities={"work"}, health="healthy", limit=1)
        await self.context.tell(pick.name, body)
        return str(pick.name)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def system(gate: threading.Event) -> Iterator[System]:
    workers = [ChildSpec(id=f"w{n}", start=Worker, kwargs={"gate": gate}, isolation="own") for n in range(3)]
    ill = ChildSpec(id="ill", start=Worker, kwargs={"gate": gate, "health": "degraded"})
    top = SupervisorSpec(id="top", children=(*workers, ill, ChildSpec(id="leader", start=Leader)))
    with start_local_system(SystemSpec(name="discovery", supervisor=top, heartbeat_s=0.02)) as started:
        yield started


def found(system: System, **criteria: Any) -> list[str]:
    return [registration.name for registration in system.find(**criteria)]


def registration(system: System, name: str) -> Registration:
    return next(found for found in system.find() if found.name == name)


def test_bug_least_loaded_never_saw_the_load_and_all_work_went_to_one_agent(system: System, wait: Any) -> None:
    picks = []
    for n in range(1, 7):
        picks.append(system.ask("leader", "wait"))
        wait(lambda n=n: sum(r.load for r in system.find()) == n, what=f"{n} units show in the load")
    assert {name: picks.count(name) for name in picks} == {"w0": 2, "w1": 2, "w2": 2}


def test_bug_a_leaders_metadata_update_took_its_required_fields_away(system: System) -> None:
    before = registration(system, "w1")
    system.ask("w1", {"metadata": {"leader": True}})
    after = registration(system, "w1")
    assert before.metadata["model"] == {"size": 7}
    assert after.metadata == {**before.metadata, "leader": True}
    for name in ("epoch", "capabilities", "health", "node", "host", "resources", "partition"):
        assert getattr(after, name) == getattr(before, name)
    with pytest.raises(AgentFailedError, match="'node' cannot be changed") as caught:
        system.ask("w1", {"node": "elsewhere", "health": "unhealthy"})
    assert isinstance(caught.value.cause, SpecError)
    assert registration(system, "w1") == after


def test_what_an_agent_says_while_it_starts_shows_and_its_health_decides_who_is_found(system: System) -> None:
    assert found(system, capabilities={"work"}, health="healthy") == ["w0", "w1", "w2"]
    assert found(system, capabilities={"work"}, health="degraded") == ["ill", "w0", "w1", "w2"]
    system.ask("ill", {"health": "healthy", "capabilities": {"work", "rest"}})
    assert found(system, capabilities={"work", "rest"}, health="healthy") == ["ill"]


def test_an_agent_that_is_stopped_is_found_no_more_and_one_restarted_in_its_new_life(system: System) -> None:
    before = registration(system, "w0").epoch
    system.restart_child("w0")
    assert registration(system, "w0").epoch > before
    system.stop_child("w0")
    assert found(system, capabilities={"work"}, health="healthy") == ["w1", "w2"]


def test_a_bad_query_is_named_before_it_is_sent(system: System) -> None:
    with pytest.raises(SpecError, match="limit must be at least 1, got 0"):
        system.find(limit=0)
    with pytest.raises(AgentFailedError, match="cannot be changed"):
        system.ask("w1", {"colour": "red"})
