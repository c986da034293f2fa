"""What only real processes can show: a loop that stands still, thousands of agents, a cluster without room."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from children_contract import settled
from hanging_agents import Blocks, Light, Locked
from runtime_contract import echo, spec_of

from dspex_agents import ChildSpec, ClusterTooSmallError, SpecError, SupervisorSpec, System, SystemSpec
from dspex_agents.errors import MessageError
from dspex_agents.runtime.ray_runtime import start_ray_system

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def block(system: System) -> None:
    with pytest.raises(MessageError):
        system.ask("blocker", "block")


@pytest.mark.chaos
def test_an_agent_that_blocks_its_host_is_named_and_moved_out_and_its_host_mates_come_back() -> None:
    children = (ChildSpec(id="blocker", start=Blocks), ChildSpec(id="mate", start=Blocks))
    top = SupervisorSpec(id="top", children=children)
    spec = SystemSpec(name="hang", supervisor=top, spare_hosts=1, heartbeat_s=0.2, hang_s=1.0)
    with start_ray_system(spec) as system:
        before = {name: system.ask(name, "epoch") for name in ("blocker", "mate")}
        with pytest.raises(MessageError, match="may have been handled"):
            system.ask("blocker", "block", timeout_s=30)
        for name, epoch in before.items():
            assert settled(system, name, epoch) > epoch
        blocker, mate = system.tree().agents()
        assert "it blocked the event loop in" in blocker.last_reason
        assert "hanging_agents.py" in blocker.last_reason
        assert mate.last_reason == "killed: 'blocker' hung its host"
        assert blocker.host != mate.host
        started = time.monotonic()
        threading.Thread(target=block, args=(system,), daemon=True).start()
        for number in range(20):
            assert system.ask("mate", number, timeout_s=5) == number
        assert time.monotonic() - started < 5


@pytest.mark.timeout(180)
def test_ten_thousand_light_agents_are_alive_at_once_and_each_answers() -> None:
    count = 10_000
    names = [f"light-{number}" for number in range(count)]
    with start_ray_system(spec_of(SupervisorSpec(id="crowd"), echo("asker"))) as system:
        system.start_children("crowd", [ChildSpec(id=name, start=Light) for name in names])
        assert len(system.tree().agents()) == count + 1

        async def ask_all() -> list[object]:
            room = asyncio.Semaphore(500)

            async def ask(name: str) -> object:
                async with room:
                    return await system.aask(name, 1, timeout_s=120)

            return await asyncio.gather(*map(ask, names))

        assert asyncio.run(ask_all()) == [(name, 1) for name in names]


def test_a_tree_that_no_node_can_hold_is_refused_with_what_is_missing() -> None:
    greedy = echo("greedy", isolation="own", resources={"GPU": 3})
    with pytest.raises(ClusterTooSmallError, match=r"wants GPU 3, and no node has that"):
        start_ray_system(spec_of(greedy))
    many = tuple(echo(f"a{n}", isolation="own", resources={"CPU": 3}) for n in range(4))
    with pytest.raises(ClusterTooSmallError, match=r"12 CPU wanted in all, 8 there"):
        start_ray_system(spec_of(*many))


def test_a_part_that_cannot_travel_is_named_down_to_its_attribute() -> None:
    class Tokenizer:
        def __init__(self) -> None:
            self.guard = threading.Lock()

    child = ChildSpec(id="reader", start=Locked, kwargs={"tokenizer": Tokenizer()})
    with pytest.raises(SpecError, match=r"child 'reader': kwargs\['tokenizer'\]\.guard does not pickle"):
        start_ray_system(spec_of(child))
    lock = threading.Lock()

    def build() -> Blocks:
        assert lock
        return Blocks()

    with pytest.raises(SpecError, match=r"child 'maker': start\.lock does not pickle"):
        start_ray_system(spec_of(ChildSpec(id="maker", start=build)))


@pytest.mark.chaos
def test_children_added_at_run_time_outlive_the_death_of_the_root(wait: Callable[..., None]) -> None:
    import os  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from test_ray_runtime import answers, root_pid  # noqa: PLC0415

    with start_ray_system(spec_of(echo("old"), echo("retired"))) as system:
        assert system.stop_child("retired")
        system.start_children("top", [echo("kept"), echo("dropped"), echo("once", restart="temporary")])
        assert system.stop_child("dropped")
        before = {name: system.ask(name, "epoch") for name in ("old", "kept", "once")}
        os.kill(root_pid(system), signal.SIGKILL)
        wait(lambda: answers(system), what="the rebuilt root")
        assert {name: system.ask(name, "epoch") for name in before} == before
        assert [node.id for node in system.tree().agents()] == ["old", "kept", "once"]
        system.start_child("top", echo("dropped"))
        assert [r.name for r in system.find()] == ["dropped", "kept", "old", "once"]
