"""Programs as agents on a real Ray cluster: a killed process loses no request, a script's own class travels."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served_programs import Echo

from dspex_ray import Program, optimize
from dspex_ray.agent_system import AgentSystem
from dspex_ray.errors import ClusterError, DspexError
from dspex_ray.store import Store

pytestmark = pytest.mark.ray
Shop = tuple[type[Program], str]


def process_of(system: AgentSystem, agent: str) -> int:
    return next(node.pid for node in system.tree().agents() if node.id == agent)


def test_no_request_is_lost_when_a_workers_process_is_killed_under_them(
    ray_cluster: str, store: Store, wait: Any
) -> None:
    with Echo().to_agent_system(store=store) as system:
        victim = process_of(system, "task-1")
        answers: list[Any] = []

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(system.arun(message=str(n), pause_s=1.0) for n in range(40)))

        asker = threading.Thread(target=lambda: answers.extend(asyncio.run(all_at_once())))
        asker.start()
        wait(lambda: system.system.status("task-1").in_flight > 5)
        os.kill(victim, signal.SIGKILL)
        asker.join(40)
        assert [answer.message for answer in answers] == [str(n) for n in range(40)]
        assert victim not in {answer.pid for answer in answers}
        wait(lambda: process_of(system, "task-1") not in (0, victim))
        wait(lambda: system.health().alive == 7)


def test_a_search_on_ray_finds_what_one_in_this_process_does(
    ray_cluster: str, make_store: Callable[[], Store], shop: Shop
) -> None:
    here, there = (
        optimize(shop[0](), shop[1], trials=4, seed=7, runtime=runtime, store=make_store())
        for runtime in ("in-process", "ray")
    )
    assert (there.version.hash, there.history) == (here.version.hash, here.history)


def test_model_calls_made_in_other_processes_are_in_the_store_when_the_system_has_stopped(
    ray_cluster: str, store: Store, shop: Shop
) -> None:
    with shop[0]().to_agent_system(store=store, isolation="shared") as system:
        for n in range(20):
            system.run(message=f"message {n}")
    assert store.totals(program=shop[0]().path).calls == 20


def test_a_name_that_is_taken_and_a_cluster_that_is_not_there_are_refused(
    ray_cluster: str, store: Store, shop: Shop
) -> None:
    with (
        shop[0]().to_agent_system(store=store, name="taken", isolation="shared"),
        pytest.raises(DspexError, match="'taken' runs already"),
    ):
        shop[0]().to_agent_system(store=store, name="taken")
    script = "import dspex_ray.demo.program as p; p.ShopRoute().to_agent_system(address='127.0.0.1:1')"
    environment = {**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env=environment, timeout=50
    )
    assert ended.returncode == 1
    assert f"{ClusterError.__name__}: No Ray cluster answers at '127.0.0.1:1'" in ended.stderr


@pytest.mark.timeout(120)
def test_a_program_written_in_a_script_runs_as_agents_and_behind_http(ray_cluster: str, tmp_path: Path) -> None:
    script = tmp_path / "shouting.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import json, urllib.request
            import dspex_ray as dspex
            from dspex_agents.runtime.ray_runtime import connect_cluster
            from dspex_ray.serving.deployment import undeploy

            class LoudError(dspex.DspexError):
                pass

            class Shout(dspex.Program):
                class Input(dspex.Schema):
                    text: str

                class Output(dspex.Schema):
                    text: str

                async def predict(self, input):
                    if not input.text:
                        raise LoudError("nothing to shout")
                    return self.Output(text=input.text.upper())

            if __name__ == "__main__":
                connect_cluster({ray_cluster!r})
                store = dspex.open_store({str(tmp_path / "script.db")!r})
                with Shout().to_agent_system(store=store, isolation="shared") as system:
                    ran = system.run(text="hey")
                    assert isinstance(ran, Shout.Output)
                    try:
                        system.run(text="")
                    except Exception as error:
                        failure = str(error)
                endpoint = Shout().deploy(name="shout", port=0, replicas=(1, 1), store=store)
                request = urllib.request.Request(
                    endpoint.url, json.dumps({{"text": "ho"}}).encode(), {{"content-type": "application/json"}}
                )
                served = json.load(urllib.request.urlopen(request, timeout=30))
                undeploy("shout", store)
                print(json.dumps({{"ran": ran.text, "served": served, "failure": failure}}))
            """
        ),
        encoding="utf-8",
    )
    ended = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=110, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    told = json.loads(ended.stdout.strip().splitlines()[-1])
    assert (told["ran"], told["served"]) == ("HEY", {"text": "HO"})
    assert "nothing to shout" in told["failure"]
