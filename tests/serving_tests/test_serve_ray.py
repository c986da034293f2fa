"""Programs served by Ray Serve in the HAProxy mode: real processes, real HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from limited_programs import limited
from served_programs import Billing, BreaksOnArrival, Echo, FileSink, Tuned

from dspex_agents.runtime.ray_runtime import find_ray_system
from dspex_ray.errors import ClusterError, ConfigurationError, InputError
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.limits.lender import MODEL_LIMITS
from dspex_ray.parcel import Parcel
from dspex_ray.serving.base import ServingLimits
from dspex_ray.serving.cluster_ledger import ensure_ledger, stop_ledger
from dspex_ray.serving.deploy import deploy_program
from dspex_ray.serving.deployment import deploy, undeploy
from dspex_ray.serving.endpoint import Endpoint
from dspex_ray.serving.program_service import pack_program
from dspex_ray.serving.running import serving_status, stop_serving
from dspex_ray.store import open_store
from dspex_ray.testing.model_server import ModelServer
from dspex_ray.traffic.ramp import Guard, RampStep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

QUICK_STOP_S = 5.0


@pytest.fixture(scope="module")
def echo(ray_cluster: str) -> Iterator[Endpoint]:
    """Serve Echo for the tests of this module, and check that Serve's end is quick and clean."""
    endpoint = deploy_program(pack_program(Echo()), name="echo", version="v1", port=0)
    yield endpoint
    started = time.monotonic()
    stop_serving()
    assert time.monotonic() - started < QUICK_STOP_S
    assert _processes("haproxy", str(_port(endpoint))) == []
    assert _processes("ServeReplica") == []
    assert serving_status() == []
    stop_serving()  # twice is harmless


def _port(endpoint: Endpoint) -> int:
    return httpx.URL(endpoint.url).port or 80


def _processes(*words: str) -> list[str]:
    """Return the command lines of living processes of this user that contain all the words."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and folder.stat().st_uid == os.getuid():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it ended while we looked
            continue
    return [line for line in found if all(word in line for word in words)]


def test_an_endpoint_answers_with_headers_in_a_process_of_its_own(echo: Endpoint) -> None:
    response = httpx.post(echo.url, json={"message": "hi"}, headers={"x-request-id": "mine"})
    assert response.status_code == 200
    assert response.json()["message"] == "hi"
    assert response.json()["pid"] != os.getpid()
    assert response.headers.get_list("x-request-id") == ["mine"]
    assert response.headers["x-dspex-version"] == "v1"
    assert response.headers["x-dspex-cost-usd"] == "0"


def test_a_bad_input_is_a_problem_with_every_field(echo: Endpoint) -> None:
    response = httpx.post(echo.url, json={"massage": 1}, headers={"x-request-id": "x" * 500})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert {error["path"] for error in response.json()["errors"]} == {"message", "massage"}
    assert response.headers.get_list("x-request-id") == [response.json()["request_id"]]
    with pytest.raises(InputError):
        echo.request(massage=1)


def test_description_health_and_refusals_pass_the_proxy(echo: Endpoint) -> None:
    document = httpx.get(f"{echo.url}/openapi.json").json()
    assert set(document["paths"]) == {"/echo", "/echo/stream", "/echo/healthz"}
    assert echo.status() == {"status": "ok", "name": "echo", "version": "v1"}
    assert httpx.get(echo.url).status_code == 405
    assert (
        httpx.post(echo.url, content=b"x" * 2_000_000, headers={"content-type": "application/json"}).status_code == 413
    )
    assert httpx.get(f"{echo.url}x").status_code == 404


def test_the_endpoint_listens_on_loopback_only(echo: Endpoint) -> None:
    outside = _outside_address()
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex((outside, _port(echo))) != 0


def _outside_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; only chooses the interface
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = str(probe.getsockname()[0])
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address


def test_a_second_program_leaves_the_first_one_in_place(echo: Endpoint, tmp_path: Path) -> None:
    file = tmp_path / "calls"
    sink = Parcel.of(FileSink(str(file)))
    second = deploy_program(Parcel.of(Billing()), name="second", version="w9", port=_port(echo), sink=sink)
    try:
        response = httpx.post(second.url, json={"a": 1}, headers={"x-request-id": "billed"})
        assert response.headers["x-dspex-cost-usd"] == "0.000123"
        assert echo.request(message="still here")["message"] == "still here"
        found = {entry["name"]: (entry["status"], entry["version"], entry["replicas"]) for entry in serving_status()}
        assert found == {"echo": ("running", "v1", 1), "second": ("running", "w9", 1)}
    finally:
        second.stop()
    assert file.read_text(encoding="utf-8").splitlines() == ["billed w9"]
    assert [entry["name"] for entry in serving_status()] == ["echo"]
    second.stop()  # twice is harmless


def test_a_new_version_replaces_the_old_one_without_a_failed_request(echo: Endpoint) -> None:
    seen: Counter[tuple[int, str | None]] = Counter()
    stop = threading.Event()
    client, idle = httpx.Client(timeout=20), httpx.Client(timeout=20)

    def ask() -> None:
        while not stop.is_set():
            response = client.post(echo.url, json={"message": "hi", "pause_s": 0.02})
            seen[response.status_code, response.headers.get("x-dspex-version")] += 1

    with client, idle, ThreadPoolExecutor(4) as threads:
        idle.post(echo.url, json={"message": "a connection kept open"})
        futures = [threads.submit(ask) for _ in range(4)]
        try:
            deploy_program(pack_program(Echo("new ")), name="echo", version="v2", port=0)
            before = seen[200, "v2"]
            _await(lambda: seen[200, "v2"] >= before + 20)
        finally:
            stop.set()
        for future in futures:
            future.result()
        assert idle.post(echo.url, json={"message": "hi"}).json()["message"] == "new hi"
    assert set(seen) == {(200, "v1"), (200, "v2")}
    deploy_program(pack_program(Echo()), name="echo", version="v1", port=0)


def _await(condition: object, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def test_a_version_that_does_not_start_leaves_the_one_before_answering(echo: Endpoint) -> None:
    with pytest.raises(ClusterError, match=r"no such tokenizer file.*Version 'v1' goes on answering"):
        deploy_program(Parcel.of(BreaksOnArrival()), name="echo", version="broken", port=0)
    assert echo.request(message="hi")["message"] == "hi"
    assert echo.status()["version"] == "v1"


def test_a_new_endpoint_that_does_not_start_is_taken_away(echo: Endpoint) -> None:
    with pytest.raises(ClusterError, match="no such tokenizer file"):
        deploy_program(Parcel.of(BreaksOnArrival()), name="fresh", version="v1", port=0)
    assert [entry["name"] for entry in serving_status()] == ["echo"]


def test_what_cannot_be_is_refused_before_anything_starts(echo: Endpoint) -> None:
    program = pack_program(Echo())
    with pytest.raises(ConfigurationError, match="no authentication yet"):
        deploy_program(program, name="open", version="v", host="0.0.0.0")  # noqa: S104 - to be refused
    with pytest.raises(ConfigurationError, match="already runs in this cluster"):
        deploy_program(program, name="other", version="v", port=_port(echo) + 1)
    with pytest.raises(ConfigurationError, match="cannot be an endpoint's name"):
        deploy_program(program, name="a/b", version="v", port=0)
    assert [entry["name"] for entry in serving_status()] == ["echo"]


def test_requests_a_minute_hold_for_two_replicas_in_sum(echo: Endpoint, tmp_path: Path) -> None:
    store, burst, calls = open_store(str(tmp_path / "store.db")), 60, 90  # a bucket of 1,200 a minute lends 60 at once

    async def by_replica(url: str, calls: int) -> Counter[int]:
        async with httpx.AsyncClient(timeout=30) as client:
            responses = await asyncio.gather(*(client.post(url, json={"n": n}) for n in range(calls)))
        return Counter(response.json()["pid"] for response in responses)

    with ModelServer() as server:
        program = limited(server, LMLimits(requests_per_minute=1200))
        try:
            endpoint = deploy(program, name="limited", port=_port(echo), replicas=(2, 2), store=store)
            # the proxy gets to know the second replica a little later, and one connection after the other
            _await(lambda: all(len(asyncio.run(by_replica(endpoint.url, 4))) == 2 for _ in range(5)))
            before, started = server.counters()["requests"], time.monotonic()
            answered = asyncio.run(by_replica(endpoint.url, calls))
            took_s = time.monotonic() - started
            details = find_ray_system(ensure_ledger(store)).status(MODEL_LIMITS).details
        finally:
            undeploy("limited", store)
            stop_ledger(store)
        assert server.counters()["requests"] - before == calls
    store.database.close()
    assert len(answered) == 2
    assert max(answered.values()) <= burst, "with a bucket of its own each replica would send all of its at once"
    assert took_s >= 0.9 * (calls - burst) / (1140 / 63)
    assert list(details) == [f"vllm/m at {server.base_url}"]


def test_a_split_changes_under_load_without_a_failed_request_and_a_user_keeps_the_version(
    echo: Endpoint, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "store.db"))
    versions = {f"{n}": Tuned().with_values({"share": n / 4}) for n in (1, 2, 3, 4)}
    for version in versions.values():
        store.save_version(version.state(), {}, now=1.0)
    try:
        endpoint = deploy(versions["1"], name="tuned", version="1", port=_port(echo), replicas=(2, 2), store=store)
        load = Load(endpoint.url)
        with load.running():
            endpoint.split({"1": 0.5, "2": 0.5}, sticky_header="x-user")
            _await(lambda: _shares(endpoint) == {"1": 0.5, "2": 0.5})
            load.settle(200)
            by_user = load.versions_by_user()
            assert all(len(found) == 1 for found in by_user.values()), "a user keeps the version"
            assert set().union(*by_user.values()) == {"1", "2"}
            endpoint.shadow("3")
            endpoint.split({"1": 0.25, "2": 0.75})
            load.settle(200)
            back = [endpoint.rollback(why="slower") for _ in range(3)]
            assert back[-1].plan.versions == ("1",)
            load.settle(200)
            assert set().union(*load.versions_by_user().values()) == {"1"}
            redeployed = deploy(
                versions["2"], name="tuned", version="2", port=_port(echo), replicas=(2, 2), store=store
            )
            load.settle(100)
            assert set().union(*load.versions_by_user().values()) == {"2"}
            redeployed.rollback()
            load.settle(200)
            assert set().union(*load.versions_by_user().values()) == {"1"}
            (served,) = (entry for entry in serving_status() if entry["name"] == "tuned")
            assert served["traffic"]["shares"] == {"1": 1.0}
        _ramp_to_a_version_that_fails(endpoint)
        stop_ledger(store)
        endpoint.split({"1": 0.0, "2": 1.0})
        ensure_ledger(store)
        _await(lambda: _shares(endpoint) == {"1": 0.0, "2": 1.0})
        for pid in {endpoint.request()["pid"] for _ in range(20)}:
            os.kill(pid, signal.SIGKILL)
        assert set(_answers_after_kill(endpoint.url, 100)) == {"2"}, "a replica begins with the plan in force"
    finally:
        undeploy("tuned", store)
        stop_ledger(store)
    store.database.close()
    assert load.failed == []
    assert load.wrong == [], "what a version answers is what its header says"


def _ramp_to_a_version_that_fails(endpoint: Endpoint) -> None:
    before = endpoint.traffic.show().plan
    guards = (Guard(measure="errors", margin=0.01),)
    endpoint.traffic.ramp("4", steps=(RampStep(weight=0.5, hold_s=600),), guards=guards)
    with httpx.Client(timeout=20) as client:

        def is_over() -> bool:
            client.post(endpoint.url, json={})
            return endpoint.traffic.last_ramp().state.status == "rolled_back"

        _await(is_over)
        _await(lambda: _shares(endpoint) == {**{arm.version: arm.weight for arm in before.arms}, "4": 0.0})
        assert {client.post(endpoint.url, json={}).status_code for _ in range(50)} == {200}


def _answers_after_kill(url: str, count: int) -> Counter[str]:
    """Return the versions of so many answers; what did not reach a replica is asked again."""
    versions = Counter[str]()

    def again() -> bool:
        with suppress(httpx.TransportError):
            response = client.post(url, json={})
            if response.status_code == 200:
                versions[response.headers["x-dspex-version"]] += 1
        return versions.total() >= count

    with httpx.Client(timeout=20) as client:
        _await(again, 60.0)
    return versions


def _shares(endpoint: Endpoint) -> object:
    return endpoint.status()["traffic"]["shares"]


class Load:
    """Ten users who ask all the time, each on a connection of their own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self.seen: list[tuple[str, str | None]] = []
        self.failed: list[tuple[int, str]] = []
        self.wrong: list[tuple[str | None, float]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask until the end."""
        with ThreadPoolExecutor(10) as threads:
            asking = [threads.submit(self._ask, f"user {n}") for n in range(10)]
            try:
                yield
            finally:
                self._stop.set()
                for each in asking:
                    each.result()

    def settle(self, requests: int) -> None:
        """Let a change come into force, within a second, and then forget all and see so many requests."""
        time.sleep(1.0)  # what is promised, and the only way to see that it is kept
        self.seen.clear()
        _await(lambda: len(self.seen) >= requests)

    def versions_by_user(self) -> dict[str, set[str | None]]:
        """Return the versions that each user got since it settled."""
        found: dict[str, set[str | None]] = {}
        for user, version in list(self.seen):
            found.setdefault(user, set()).add(version)
        return found

    def _ask(self, user: str) -> None:
        with httpx.Client(timeout=20) as client:
            while not self._stop.is_set():
                response = client.post(self._url, json={"pause_s": 0.02}, headers={"x-user": user})
                if response.status_code != 200:
                    self.failed.append((response.status_code, response.text))
                    continue
                version = response.headers.get("x-dspex-version")
                self.seen.append((user, version))
                if response.json()["value"] != int(version) / 4:
                    self.wrong.append((version, response.json()["value"]))


def test_more_requests_than_an_endpoint_accepts_are_told_to_come_back(echo: Endpoint) -> None:
    limits = ServingLimits(max_ongoing_requests=1, max_queued_requests=1)
    narrow = deploy_program(pack_program(Echo()), name="narrow", version="v", port=0, replicas=(1, 1), limits=limits)
    try:
        with httpx.Client(timeout=20) as client, ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(client.post, narrow.url, json={"message": "hi", "pause_s": 0.3}) for _ in range(8)]
            responses = [call.result() for call in calls]
    finally:
        narrow.stop()
    refused = [response for response in responses if response.status_code == 503]
    assert refused
    assert {response.status_code for response in responses} == {200, 503}
    assert refused[0].json()["type"] == "urn:dspex:problem:overloaded"
    assert refused[0].headers["retry-after"] == "1"
