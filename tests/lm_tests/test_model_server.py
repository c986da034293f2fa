"""The simulated model server seen from outside, by another HTTP client."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest

from dspex_ray.errors import ConfigurationError
from dspex_ray.testing.model_faults import Faults, LogNormalLatency, Weather
from dspex_ray.testing.model_server import ModelServer


def chat(url: str, *texts: str, **more: Any) -> httpx.Response:
    messages = [{"role": "user", "content": text} for text in texts]
    return httpx.post(f"{url}/chat/completions", json={"model": "m", "messages": messages} | more, timeout=10)


def text_of(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


def test_echo_repeats_the_last_user_message_with_true_usage() -> None:
    with ModelServer() as server:
        body = chat(server.base_url, "first one", "second message!").json()
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "second message!"}
    assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}
    assert body["object"] == "chat.completion"


def test_a_script_answers_in_order_and_then_refuses() -> None:
    with ModelServer(answer=["one", "two"]) as server:
        assert [text_of(chat(server.base_url, "x")) for _ in range(2)] == ["one", "two"]
        assert chat(server.base_url, "x").status_code == 400


def test_a_rule_sees_the_messages_and_the_body() -> None:
    with ModelServer(answer=lambda messages, body: f"{messages[0]['content']} at {body['temperature']}") as server:
        assert text_of(chat(server.base_url, "hot", temperature=0.5)) == "hot at 0.5"


def test_a_rule_that_raises_is_a_500_that_says_so() -> None:
    with ModelServer(answer=lambda _, body: body["absent"]) as server:
        response = chat(server.base_url, "x")
        assert server.counters()["by_status"] == {"500": 1}
    assert (response.status_code, "KeyError('absent')" in response.text) == (500, True)


def test_nearest_answers_like_the_embedded_model() -> None:
    schema = {"properties": {"intent": {"enum": ["card_arrival", "exchange_rate"]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with ModelServer(answer="nearest") as server:
        answer = text_of(chat(server.base_url, "the exchange rate?", response_format=wanted))
    assert json.loads(answer) == {"intent": "exchange_rate"}


def test_a_stream_is_server_sent_events_with_usage_only_when_asked() -> None:
    with ModelServer() as server:
        plain = chat(server.base_url, "a b", stream=True).text
        counted = chat(server.base_url, "a b", stream=True, stream_options={"include_usage": True}).text
    assert plain.endswith("data: [DONE]\n\n")
    assert "usage" not in plain
    assert json.loads(counted.split("\n\n")[-3].removeprefix("data: "))["usage"]["total_tokens"] == 4


def test_models_and_counters_are_listed() -> None:
    with ModelServer(models=["a", "b"], api_key="k") as server:
        refused = httpx.get(f"{server.base_url}/models")
        listed = httpx.get(f"{server.base_url}/models", headers={"Authorization": "Bearer k"}).json()
        assert chat(server.base_url, "x").status_code == 401
        counted = httpx.get(f"{server.base_url.removesuffix('/v1')}/counters").json()
    assert refused.status_code == 401
    assert [row["id"] for row in listed["data"]] == ["a", "b"]
    assert counted == server.counters()
    assert (counted["requests"], counted["answered"], counted["by_status"]) == (1, 0, {"401": 2})


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"model": "m"}',
        b'{"model": "m", "messages": [3]}',
        b'{"messages": [{"role": "user", "content": "x"}]}',
    ],
)
def test_a_request_that_is_no_chat_is_refused_with_400(body: bytes) -> None:
    with ModelServer() as server:
        response = httpx.post(f"{server.base_url}/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_faults_and_latencies_depend_on_the_seed_and_the_number_alone() -> None:
    faults = Faults(rate_429=0.2, rate_500=0.2, rate_hang=0.1, rate_cut=0.1, rate_malformed=0.1)
    storm = Weather(seed=3, latency=LogNormalLatency(median_s=0.5, sigma=0.4), faults=faults)
    again = Weather(seed=3, latency=LogNormalLatency(median_s=0.5, sigma=0.4), faults=faults)
    drawn = [storm.of(n) for n in range(2000)]
    assert drawn == [again.of(n) for n in range(2000)]
    assert drawn != [Weather(seed=4, faults=faults).of(n) for n in range(2000)]
    kinds = [fault for fault, _ in drawn]
    assert 0.26 < kinds.count("ok") / 2000 < 0.34
    assert 0.17 < kinds.count("429") / 2000 < 0.23
    assert 0.46 < sorted(latency for _, latency in drawn)[1000] < 0.54


def test_wrong_weather_is_refused() -> None:
    for make in (
        lambda: Faults(rate_429=1.2),
        lambda: Faults(rate_429=0.6, rate_500=0.6),
        lambda: LogNormalLatency(median_s=0),
        lambda: Weather(script=["429", "rain"]),
        lambda: ModelServer(answer="eco"),
    ):
        with pytest.raises(ConfigurationError):
            make()


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port}"):
            ModelServer(port=port).start()


def test_leaving_ends_requests_that_hang() -> None:
    with ModelServer(weather=Weather(script=["hang"])) as server, pytest.raises(httpx.TimeoutException):
        httpx.post(
            f"{server.base_url}/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "x"}]},
            timeout=0.3,
        )
    with pytest.raises(httpx.ConnectError):
        chat(server.base_url, "x")


def test_it_runs_as_a_process_of_its_own_until_told_to_stop() -> None:
    command = [sys.executable, "-m", "dspex_ray.testing.model_server", "--answer", "nearest", "--rate-500", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert started["pid"] == process.pid
        assert text_of(chat(started["url"], "hello")) == "hello"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
