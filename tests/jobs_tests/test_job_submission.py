"""The operator's path on a cluster with token auth: submit jobs, watch, stop and resume them, serve what they made."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_searches import TRIALS, Searches, ended, essence, result_in
from ray_head import BIN, RayHead, end_processes_of, ray_head, start_node, works
from sorted_mail import sort_mail, write_mail

from dspex_agents.database import Database
from dspex_coordination import SweepStore
from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
Wait = Callable[..., None]
QUICK = {"initial_delay_ms": "0", "period_ms": "300", "failure_threshold": "3"}  # so that a lost node is noticed
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "dspex_ray.demo.program:ShopRoute"
DATA = ROOT / "dspex_ray" / "demo" / "messages.csv"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    store = tmp_path_factory.mktemp("store") / "jobs.db"
    quick = {f"RAY_health_check_{name}": value for name, value in QUICK.items()}
    with ModelServer(answer=sort_mail, weather=Weather(latency=0.15)) as server:
        model = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "key"}
        code = {"PYTHONPATH": str(ROOT / "tests" / "support")}
        with ray_head(ROOT, DSPEX_STORE=f"sqlite:///{store}", **model, **code, **quick) as running:
            yield running


def command(head: RayHead, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=ROOT,
        env={**head.environment, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def submitted(head: RayHead) -> subprocess.CompletedProcess[str]:
    words = ("ray", "job", "submit", "--address", head.dashboard, "--", "dspex", "optimize", PROGRAM)
    return command(head, *words, "--data", str(DATA), "--trials", "6", "--json")


def test_a_submitted_optimisation_succeeds(submitted: subprocess.CompletedProcess[str]) -> None:
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "succeeded" in submitted.stdout
    assert '"failed_trials": 0' in submitted.stdout


def test_a_submission_without_the_token_is_refused(head: RayHead) -> None:
    words = ("ray", "job", "submit", "--address", head.dashboard, "--", "true")
    refused = command(head, *words, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN_PATH="/nowhere")
    assert refused.returncode != 0
    assert "oken" in refused.stdout + refused.stderr


def test_the_version_a_job_made_is_listed_served_called_and_stopped(
    head: RayHead, submitted: subprocess.CompletedProcess[str]
) -> None:
    assert submitted.returncode == 0
    listed = json.loads(command(head, "dspex", "versions", PROGRAM, "--json").stdout)["versions"]
    assert [version["version"] for version in listed] == [1]
    where = ("--address", head.address, "--json")
    deployed = command(head, "dspex", "deploy", PROGRAM, "--version", "latest", "--port", "0", *where)
    assert deployed.returncode == 0, deployed.stderr
    endpoint = json.loads(deployed.stdout)
    assert (endpoint["version"], endpoint["detached"]) == ("1", True)
    answer = post(endpoint["url"], {"message": "Where is my parcel?"})
    assert answer["intent"] == "where_is_my_parcel"
    (entry,) = json.loads(command(head, "dspex", "status", *where).stdout)["endpoints"]
    assert (entry["name"], entry["status"], entry["version"]) == ("shoproute", "running", "1")
    stopped = command(head, "dspex", "stop", "shoproute", *where)
    assert stopped.returncode == 0, stopped.stderr
    with pytest.raises(OSError, match=r"refused|reset"):
        post(endpoint["url"], {"message": "Still there?"})


def post(url: str, body: dict[str, str]) -> dict[str, object]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: dict[str, object] = json.load(response)
    return answer


# optimisations of programs on several nodes ---------------------------------------------------------------------
@pytest.fixture(scope="module")
def searches(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Searches:
    folder = tmp_path_factory.mktemp("searches")
    write_mail(folder / "mail.csv", 60)
    return Searches(head, folder, head.environment["DSPEX_STORE"])


@pytest.fixture(scope="module")
def nodes(head: RayHead) -> tuple[str, str]:
    return start_node(head, "second", 2), start_node(head, "third", 2)


@pytest.fixture(scope="module")
def alone(searches: Searches) -> dict[str, dict[str, Any]]:
    """Return what each optimizer finds in one process that has it to itself."""
    found = {}
    for optimizer in TRIALS:
        url = f"sqlite:///{searches.folder / optimizer}.db"
        command = searches.command(optimizer, "--runtime", "in-process", "--store", url, "--json")
        found[optimizer] = essence(result_in(searches.run(*command)), SweepStore(Database(url)))
    return found


def test_optimisations_at_once_share_the_nodes_are_watched_and_end_as_each_does_alone(
    searches: Searches, nodes: tuple[str, str], alone: dict[str, dict[str, Any]], wait: Wait
) -> None:
    jobs = {name: searches.submit(searches.command(name, "--json")) for name in TRIALS}
    wait(lambda: all(searches.rows(name) for name in TRIALS), 90.0, "rows of each run")
    watched = searches.id_of("beacon_programs")
    assert watched is not None
    watching = searches.start("dspex", "sweeps", "watch", watched, "--interval", "0.2")
    wait(lambda: all(works(node) for node in nodes), 30.0, "an agent at work on each node")
    listed = json.loads(searches.run("dspex", "sweeps", "list", "--json"))["sweeps"]
    assert {row["optimizer"] for row in listed} >= set(TRIALS)
    for name, job in jobs.items():
        assert essence(result_in(ended(job)), searches.store) == alone[name], name
    lines = ended(watching).splitlines()
    assert len(lines) > 2, lines
    assert lines[0].startswith(f"{watched} running, ")
    assert re.match(rf"{watched} finished, 24/24 trials, [1-9]\d* errands, \d+ rows, best ", lines[-1])


@pytest.mark.chaos
def test_a_run_that_is_stopped_then_loses_its_driver_and_then_a_node_ends_as_if_nothing_had_been(
    searches: Searches, nodes: tuple[str, str], alone: dict[str, dict[str, Any]], wait: Wait
) -> None:
    name = "beacon_programs"
    ended(searches.submit(searches.command(name), "--no-wait", "--submission-id", "stopped"))
    known = searches.id_of(name)
    wait(lambda: searches.id_of(name) != known and searches.rows(name) > 20, 60.0, "rows of the first driver")
    searches.run("ray", "job", "stop", "--address", searches.head.dashboard, "stopped")
    log = searches.run("ray", "job", "logs", "--address", searches.head.dashboard, "stopped")
    again = shlex.split(log.split("Go on with:\n", 1)[1].splitlines()[0])
    before = searches.rows(name)

    ended(searches.submit(again, "--no-wait"))
    wait(lambda: searches.rows(name) > before + 20, 60.0, "rows of the second driver")
    searches.kill_driver()

    last = searches.start(*again, "--address", searches.head.address, "--json")
    wait(lambda: works(nodes[1]) or last.poll() is not None, 60.0, "an agent at work on the third node")
    end_processes_of(nodes[1])
    assert last.poll() is None
    assert essence(result_in(ended(last)), searches.store) == alone[name]


def test_an_address_that_refuses_us_is_told_with_its_reason_at_once(head: RayHead, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64, encoding="ascii")
    refused = command(head, "dspex", "agents", "list", "--address", head.address, RAY_AUTH_TOKEN_PATH=str(wrong))
    assert refused.returncode == 1
    assert f"{head.address}: it wants another token" in refused.stderr
