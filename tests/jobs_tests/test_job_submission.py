"""The operator's path on a started cluster with token auth: submit a job, find its version, serve it, call it."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_head import BIN, RayHead, ray_head

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "dspex_ray.demo.program:ShopRoute"
DATA = ROOT / "dspex_ray" / "demo" / "messages.csv"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    store = tmp_path_factory.mktemp("store") / "jobs.db"
    with ray_head(ROOT, DSPEX_STORE=f"sqlite:///{store}") as running:
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
