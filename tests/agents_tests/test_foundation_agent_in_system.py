"""Foundation agents in a system: found by what they can do, fed by a bus, answering beside slow work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from foundation_samples import ADD, By, Cart, CartState, Count

from dspex_agents import (
    Action,
    Agent,
    AgentFailedError,
    ChildSpec,
    CountingIds,
    Database,
    Publish,
    Replay,
    Signal,
    SignalBusAgent,
    Subscribe,
    Subscription,
    SupervisorSpec,
    System,
    SystemSpec,
    SystemStoppedError,
    start_local_system,
)
from dspex_agents.actions.action_call import ActionCall
from dspex_agents.actions.decision import Decision
from dspex_agents.actions.directive import Enqueue, StopSelf
from dspex_agents.roles.foundation_messages import GetState, UnknownActionError
from dspex_agents.supervision.registry import Query

SIGNAL = Signal(id="s1", source="/tests", type="item.added", data={"by": 4})


class Pricing(Agent):
    async def on_message(self, body: Any) -> Any:
        if body == "fail":
            raise ValueError("no price")
        return {"price": 3}


class Slow(Action[By, Count]):
    """Wait for the gate of the agent."""

    async def run(self, params: By, context: Mapping[str, Any]) -> Count:
        await asyncio.get_running_loop().run_in_executor(None, GATE.wait, 20)
        return Count(count=0)


class Team(Action[By, Count]):
    """Ask all that can price."""

    async def run(self, params: By, context: Mapping[str, Any]) -> Any:
        found = await context["buyer"].coordinate_with(Query(capabilities=frozenset({"pricing"})), "price")
        assert not found.errors, found.errors
        return Count(count=sum(answer["price"] for answer in found.answers.values()))


class Leave(Action[By, Count]):
    """End the agent after this answer."""

    async def run(self, params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(Count(count=1), StopSelf("left"))


class Tell(Action[By, Count]):
    """Put two more on the agent's own list: one for later, one for now."""

    async def run(self, params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(Count(count=0), Enqueue(ActionCall("AddItems", {"by": params.by})))


class Buyer(Cart):
    actions = (*Cart.actions, Slow, Team, Leave, Tell)

    def action_context(self) -> Mapping[str, Any]:
        return {"buyer": self}


GATE = threading.Event()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., System]]:
    with contextlib.ExitStack() as stack:

        def begin(*children: ChildSpec) -> System:
            bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs={"database": Database(str(tmp_path / "signals.db"))})
            top = SupervisorSpec(id="top", children=(bus, *children), intensity=5)
            return stack.enter_context(start_local_system(SystemSpec(name="carts", supervisor=top)))

        yield begin


def buyer(**kwargs: Any) -> ChildSpec:
    return ChildSpec(id="buyer", start=Buyer, kwargs=kwargs, capabilities=frozenset({"from-spec"}))


def test_others_find_an_agent_by_its_own_capabilities_and_kind(start: Callable[..., System]) -> None:
    system = start(buyer(capabilities={"gift-wrapping"}))
    (found,) = system.find(capabilities=frozenset({"gift-wrapping", "cart", "from-spec"}))
    assert found.name == "buyer"
    assert found.metadata["agent_type"] == "Buyer"
    assert found.metadata["pid"] == os.getpid()


def test_status_and_state_are_answered_at_once_beside_a_slow_action(start: Callable[..., System]) -> None:
    system = start(buyer())
    GATE.clear()
    asker = threading.Thread(target=lambda: system.ask("buyer", ActionCall("Slow")))
    asker.start()
    try:
        while system.status("buyer").in_flight == 0:
            pass
        assert system.ask("buyer", GetState(), control=True, timeout_s=5) == CartState()
        assert system.status("buyer").details["processed"] == 0
    finally:
        GATE.set()
        asker.join(20)
    assert system.status("buyer").details["processed"] == 1


def test_an_agent_really_asks_its_team(start: Callable[..., System]) -> None:
    team = [ChildSpec(id=f"p{n}", start=Pricing, capabilities=frozenset({"pricing"})) for n in (1, 2)]
    assert start(buyer(), *team).ask("buyer", ActionCall("Team")) == Count(count=6)


def test_errors_reach_the_asker_by_name(start: Callable[..., System]) -> None:
    system = start(buyer())
    with pytest.raises(AgentFailedError, match="UnknownActionError") as caught:
        system.ask("buyer", ActionCall("Nothing"))
    assert isinstance(caught.value.cause, UnknownActionError)
    with pytest.raises(AgentFailedError, match="NotImplementedError"):
        system.ask("buyer", "hello")


def test_an_agent_that_stops_itself_is_restarted_without_a_further_message(
    start: Callable[..., System], wait: Callable[..., None]
) -> None:
    system = start(buyer())
    system.ask("buyer", ADD)
    assert system.ask("buyer", ActionCall("Leave")) == Count(count=1)

    def restarted() -> bool:
        (node,) = (node for node in system.tree().agents() if node.id == "buyer")
        return (node.restarts, node.last_reason, node.status) == (1, "left", "idle")

    wait(restarted)
    assert system.ask("buyer", ActionCall("Show")) == Count(count=0)


def test_an_agent_gives_itself_more_to_do(start: Callable[..., System], wait: Callable[..., None]) -> None:
    system = start(buyer())
    system.ask("buyer", ActionCall("Tell", {"by": 5}))
    wait(lambda: system.ask("buyer", GetState(), control=True).count == 5)


def test_an_agent_takes_signals_from_the_bus_and_tells_of_its_life_there(
    start: Callable[..., System], wait: Callable[..., None]
) -> None:
    system = start(buyer(bus="bus", ids=CountingIds()))
    system.ask("bus", Subscribe(Subscription(agent="buyer", pattern="item.*")))
    system.ask("bus", Publish(SIGNAL))
    wait(lambda: system.ask("buyer", GetState(), control=True).count == 4)

    def told() -> list[Signal]:
        return [entry.signal for entry in system.ask("bus", Replay()).signals if entry.signal.source == "/agents/buyer"]

    wait(lambda: len(told()) >= 5)
    started, *actions = told()
    assert started.type == "agent.started"
    assert started.data["metadata"]["capabilities"] == ["cart"]
    assert [signal.type for signal in actions[:4]] == ["action.starting", "action.completed"] * 2
    assert all(s.data["measurements"]["duration_s"] > 0 for s in actions[:4] if s.type == "action.completed")


def test_an_agent_stopped_for_good_says_so_on_the_bus_as_its_last_word(start: Callable[..., System]) -> None:
    system = start(buyer(bus="bus"))
    assert system.stop_child("buyer")
    signals = [entry.signal for entry in system.ask("bus", Replay()).signals]
    assert signals[-1].type == "agent.terminated"
    with pytest.raises(SystemStoppedError, match="is not running and will not be"):
        system.ask("buyer", ADD, timeout_s=5)
