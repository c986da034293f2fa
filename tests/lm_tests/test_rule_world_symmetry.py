"""The simulated model takes our prompts and DSPy's alike, and its server counts what it is asked."""

from __future__ import annotations

import importlib.util
import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from optimizers_bench.cells import Cell, Cells
from optimizers_bench.server import Weather, service_of, world
from optimizers_bench.tasks import TASKS
from side import Side

needs_dspy = pytest.mark.skipif(
    importlib.util.find_spec("dspy") is None, reason="DSPy is a peer of the benchmarks: make bench installs it"
)


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Side, Side]]:
    with ExitStack() as stack:
        ours, peer = (stack.enter_context(Side(f"optimizers_bench.{name}_side")) for name in ("ours", "dspy"))
        yield ours, peer


@needs_dspy
@pytest.mark.parametrize(
    ("name", "demos", "told"),
    [("routing", 0, False), ("routing", 0, True), ("routing", 4, False), ("two_hop", 0, True)],
)
def test_prompts_of_both_systems_with_the_same_content_are_answered_alike(
    sides: tuple[Side, Side],
    name: str,
    demos: int,
    told: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    task = TASKS[name]
    rules = {
        call.place: "\n".join(
            [call.instruction, *(rule.wordings[0] for rule in task.rules if rule.place == call.place and told)]
        )
        for call in task.calls
    }
    with world(name, 1) as server:
        urls = {"counted": server.url, "aside": server.aside}
        ours, theirs = (
            side.call("told", task=name, seed=1, urls=urls, instructions=rules, demos=demos)["test"] for side in sides
        )
        assert server.counted() == {}  # what is judged aside is not counted
    assert abs(ours - theirs) < 0.12, (ours, theirs)  # three standard errors of 200 cases, half of their noise shared


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_the_server_counts_calls_and_tokens() -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "Write an instruction."}]}
    with world("routing", 0) as server:
        answer = ask(server.url, body)
        ask(server.aside, body)
        counted = server.counted()
    assert answer["choices"][0]["message"]["content"].startswith(TASKS["routing"].purpose)
    assert (counted["calls"], counted["text"]) == (1, 1)
    assert counted["tokens_in"] == answer["usage"]["prompt_tokens"]


def test_faults_come_at_their_rate_and_change_no_answer() -> None:
    calm, stormy = (service_of("routing", 0, {"fault_rate": rate}) for rate in (0.0, 0.3))
    bodies = [
        json.dumps({"model": "small", "messages": [{"role": "user", "content": f"Write text {n}."}]}).encode()
        for n in range(300)
    ]
    failed = 0
    for body in bodies:
        expected = calm.reply(body, aside=False)
        status, answer, _ = stormy.reply(body, aside=False)
        while status != 200:
            failed += 1
            status, answer, _ = stormy.reply(body, aside=False)
        assert answer == expected[1]
    assert 80 < failed < 180  # 300 * 0.3 / 0.7 is 129
    assert stormy.counted["faults"] == failed


def test_latency_is_log_normal_around_its_median() -> None:
    weather = Weather(median_s=0.05, sigma=0.8)
    service = service_of("routing", 0, {"median_s": weather.median_s, "sigma": weather.sigma})
    body = json.dumps({"messages": [{"role": "user", "content": "Write."}]}).encode()
    waits = sorted(service.reply(body, aside=False)[2] for _ in range(401))
    assert 0.04 < waits[200] < 0.06
    assert waits[-1] > 0.2


def test_a_cell_that_is_kept_is_not_run_again(tmp_path: Path) -> None:
    cell = Cell("no_such_side", "simba", "routing", 0, 100)
    kept = tmp_path / "cells.jsonl"
    kept.write_text(json.dumps({"cell": cell.key, "figures": {"test": 0.5}}) + "\n")
    assert Cells(kept).figures(cell) == {"test": 0.5}
