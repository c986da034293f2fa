"""`dspex agents ...` as a user types it, on a system that runs on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agents_cli import DSPEX, Teller, refused, typed
from sample_agents import Echo, Squarer

from dspex_agents import (
    ChildSpec,
    SupervisorSpec,
    System,
    SystemSpec,
)


@pytest.fixture
def detached(ray_cluster: str) -> Iterator[System]:
    """Return a system that runs on the cluster without a driver of its own."""
    from dspex_agents.runtime.ray_runtime import start_ray_system  # noqa: PLC0415 - loads ray

    front = ChildSpec(id="front", start=Echo, isolation="own")
    team = SupervisorSpec(id="team", children=(ChildSpec(id="w1", start=Echo), ChildSpec(id="teller", start=Teller)))
    spec = SystemSpec(name="seen", supervisor=SupervisorSpec(id="top", children=(front, team)))
    with start_ray_system(spec, detached=True) as system:
        yield system


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_a_system_on_a_cluster_is_listed_shown_and_taken_in_hand_from_another_process(
    ray_cluster: str, detached: System
) -> None:
    listed = typed(ray_cluster, "list", "--json").json["systems"]
    assert [(row["name"], row["status"], row["agents"]) for row in listed] == [("seen", "running", "3 agents: 3 idle")]
    top_ = typed(ray_cluster, "tree", "--json").json["tree"]
    before = detached.ask("front", "pid")
    assert top_["children"][0]["pid"] == before
    assert typed(ray_cluster, "kill", "front", "--yes", "--json").json == {"killed": "front"}
    assert detached.ask("front", "pid", retry_safe=True) != before
    assert typed(ray_cluster, "pause", "w1", "--system", "seen", "--json").json["status"] == "paused"
    refused(typed(ray_cluster, "pause", "w2"), "Unknown agent 'w2'. Did you mean 'w1'?")
    text = typed(ray_cluster, "metrics").out
    assert 'dspex_agent_restarts_total{kind="Echo",supervisor="top",system="seen"} 1.0' in text
    assert 'dspex_host_agents{host_group="own",system="seen"} 1.0' in text


@pytest.mark.ray
@pytest.mark.timeout(120)
def test_watching_a_system_on_a_cluster_ends_quietly_with_ctrl_c(ray_cluster: str, detached: System) -> None:
    command = [DSPEX, "agents", "tree", "--watch", "--interval", "0.1", "--address", ray_cluster]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("seen  3 agents")
    os.killpg(watching.pid, signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")
    assert detached.tree().status == "running"


@pytest.mark.ray
@pytest.mark.timeout(120)
def test_letters_of_a_class_of_the_program_are_shown_where_it_is_not_known(
    ray_cluster: str, detached: System, wait: Callable[..., None], tmp_path: Path
) -> None:
    detached.ask("teller", ("nobody", Squarer()))
    wait(lambda: detached.tree().dead_letters == 1, what="the dead letter")
    (letter,) = typed(ray_cluster, "dead-letters", "--json", folder=tmp_path).json["dead_letters"]
    assert "sample_agents.Squarer" in letter["message"]
    assert typed(ray_cluster, "dead-letters", "--purge", "--json", folder=tmp_path).json == {"purged": 1}
