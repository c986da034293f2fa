"""Sealed specifications: the root never opens what only the agents' processes need."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence

import pytest

from dspex_agents import ChildSpec, SupervisorSpec, SystemSpec
from dspex_agents.agent import Agent
from dspex_agents.runtime.ray_runtime.sealing import sealed

OPENED: list[str] = []


class Loud:
    """Tells when it is unpickled."""

    def __setstate__(self, state: object) -> None:
        OPENED.append("loud")

    def __getstate__(self) -> str:
        return "state"


class Plain(Agent):
    """Keeps what it was made with."""

    def __init__(self, part: object = None, data: bytes = b"") -> None:
        self.part, self.data = part, data


def system(children: Sequence[ChildSpec | SupervisorSpec]) -> SystemSpec:
    return SystemSpec(name="sealed", supervisor=SupervisorSpec(id="top", children=tuple(children)))


def test_a_sealed_system_travels_without_its_agents_parts_being_opened() -> None:
    OPENED.clear()
    inner = SupervisorSpec(id="inner", children=(ChildSpec(id="deep", start=Plain, kwargs={"part": Loud()}),))
    spec = system([ChildSpec(id="loud", start=Plain, kwargs={"part": Loud(), "data": b"1"}), inner])
    arrived: SystemSpec = pickle.loads(pickle.dumps(sealed(spec)))
    assert OPENED == []
    assert [child.id for child in arrived.supervisor.agents()] == ["loud", "deep"]
    first, _ = arrived.supervisor.agents()
    agent = first.start(**first.kwargs)
    assert isinstance(agent, Plain)
    assert (type(agent.part), agent.data, OPENED) == (Loud, b"1", ["loud"])


def test_arguments_that_agents_share_travel_once() -> None:
    kwargs = {"data": bytes(100_000)}
    children = [ChildSpec(id=f"a{number}", start=Plain, kwargs=kwargs) for number in range(50)]
    assert len(pickle.dumps(sealed(system(children)))) < 150_000


def test_a_part_that_does_not_pickle_is_refused_when_it_is_sealed() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        sealed(system([ChildSpec(id="locked", start=Plain, kwargs={"part": threading.Lock()})]))
