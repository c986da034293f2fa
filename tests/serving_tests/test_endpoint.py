"""The small client of an endpoint, against a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dspex_ray import errors
from dspex_ray.serving import problem
from dspex_ray.serving.endpoint import Endpoint
from dspex_ray.serving.problem import Problem


class Scripted(BaseHTTPRequestHandler):
    """Answers with the problem of the path's last part, or echoes."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        kind = self.path.rpartition("/")[2]
        if kind == "hang":
            self.server.released.wait(10)  # type: ignore[attr-defined]
        elif kind == "foreign":
            self._send(502, "text/html", b"<h1>Bad gateway</h1>", {})
        elif kind in FAILURES:
            found = problem.of_error(FAILURES[kind])
            text = json.dumps(found.as_json("req-5")).encode()
            self._send(found.status, problem.MEDIA_TYPE, text, found.all_headers())
        else:
            self._send(200, "application/json", body, {})

    def do_GET(self) -> None:
        self._send(200, "application/json", b'{"status": "ok", "version": "v1"}', {})

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "content-type": kind, "content-length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


FAILURES: dict[str, Exception] = {
    "InputError": errors.InputError("m", (("a.b", "wrong"), ("c", "missing"))),
    "OutputError": errors.OutputError("m"),
    "BudgetExceededError": errors.BudgetExceededError("m", "all", "$5.00 a day", "$4.99 spent", 86_400.0),
    "LMRateLimitError": errors.LMRateLimitError("m", retry_after_s=7),
    "LMTimeoutError": errors.LMTimeoutError("m"),
    "LMConnectionError": errors.LMConnectionError("m"),
    "LMServerError": errors.LMServerError("m"),
    "LMAuthError": errors.LMAuthError("m"),
    "LMContextWindowError": errors.LMContextWindowError("m"),
    "LMBadReplyError": errors.LMBadReplyError("m"),
    "DspexError": RuntimeError("m"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    found.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.released.set()  # type: ignore[attr-defined]
    found.shutdown()
    thread.join()
    found.server_close()


def test_fields_go_out_and_the_output_comes_back(server: str) -> None:
    assert Endpoint("r", f"{server}/r", "v1").request(message="ž", n=[1]) == {"message": "ž", "n": [1]}


def test_status_is_what_the_endpoint_says(server: str) -> None:
    assert Endpoint("r", f"{server}/r", "v1").status()["version"] == "v1"


@pytest.mark.parametrize("kind", sorted(FAILURES))
def test_a_remote_failure_raises_what_a_local_one_would(server: str, kind: str) -> None:
    with pytest.raises(errors.DspexError, match="req-5") as caught:
        Endpoint("r", f"{server}/{kind}", "v1").request()
    assert type(caught.value).__name__ == kind


def test_a_remote_input_error_keeps_its_problems(server: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        Endpoint("r", f"{server}/InputError", "v1").request()
    assert caught.value.problems == (("a.b", "wrong"), ("c", "missing"))


def test_a_remote_rate_limit_keeps_when_to_come_back(server: str) -> None:
    with pytest.raises(errors.LMRateLimitError) as caught:
        Endpoint("r", f"{server}/LMRateLimitError", "v1").request()
    assert caught.value.retry_after_s == 7.0


def test_no_answer_in_time_is_a_timeout(server: str) -> None:
    with pytest.raises(errors.LMTimeoutError, match=r"within 0\.1 s"):
        Endpoint("r", f"{server}/hang", "v1").request(timeout_s=0.1)


def test_an_answer_of_something_else_is_a_cluster_error(server: str) -> None:
    with pytest.raises(errors.ClusterError, match="502"):
        Endpoint("r", f"{server}/foreign", "v1").request()


def test_nothing_listening_is_a_cluster_error() -> None:
    with pytest.raises(errors.ClusterError, match="Nothing answers at"):
        Endpoint("r", "http://127.0.0.1:1/r", "v1").status()


def test_an_endpoint_of_another_process_cannot_be_stopped() -> None:
    with pytest.raises(errors.ClusterError, match="not deployed by this process"):
        Endpoint("r", "http://127.0.0.1:1/r", "v1").stop()


def test_an_endpoint_stops_by_its_name_and_does_not_show_how() -> None:
    stopped: list[str] = []
    endpoint = Endpoint("r", "http://127.0.0.1:1/r", "v1", stopped.append)
    endpoint.stop()
    assert stopped == ["r"]
    assert repr(endpoint) == "Endpoint(name='r', url='http://127.0.0.1:1/r', version='v1')"


def test_every_problem_code_of_an_error_comes_back_as_an_error_of_ours() -> None:
    for failure in FAILURES.values():
        found = problem.of_error(failure)
        assert isinstance(problem.to_error(found.as_json("r"), None), errors.DspexError)
    unknown = Problem(code="new-one", status=418, title="t", detail="d")
    assert "d (request r)" in str(problem.to_error(unknown.as_json("r"), None))
