"""`dspex trace`: spans of a run as a tree or JSON, calls of the ledger in their place, export, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.calls import CallRecord
from dspex_ray.cli import main, output
from dspex_ray.store import open_store
from dspex_ray.store.spans import SpanStore

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAID = [{"role": "user", "parts": [{"type": "text", "content": "Where is [it]?\x1b[2J"}]}]
Run = Callable[..., tuple[int, str, str]]


def row(id_: int, parent: int | None, name: str, seconds: tuple[float, float], **fields: Any) -> dict[str, Any]:
    start, end = seconds
    return {
        "trace_id": TRACE,
        "span_id": f"{id_:016x}",
        "parent_id": None if parent is None else f"{parent:016x}",
        "name": name,
        "kind": "INTERNAL",
        "start_ns": round(start * 1e9),
        "end_ns": round(end * 1e9),
        "status": "ok",
        "run_id": "run-1",
        "request_id": None,
        "attributes": {},
        **fields,
    }


CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 30,
    "dspex.cost_usd": 0.0125,
    "dspex.attempts": 2,
    "gen_ai.input.messages": json.dumps(SAID),
}
FAILED = {"error.type": "LMTimeoutError", "dspex.error": "no answer [late]\x1b"}
ROWS = [
    row(1, None, "optimize Route", (0, 10)),
    row(2, 1, "invoke_agent task-1", (1, 4), attributes={"dspex.trial": 0}),
    row(3, 2, "invoke_workflow Route", (1, 4), attributes={"dspex.trial": 0, "dspex.row": 5, "dspex.place": "a.b"}),
    row(4, 3, "chat gpt", (2, 3.5), kind="CLIENT", attributes=CHAT),
    row(5, 1, "invoke_agent task-2", (2, 8), status="error", attributes={"dspex.trial": 1, **FAILED}),
]


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = str(tmp_path / "s.db")
    kept = open_store(path)
    SpanStore(kept.database).write(ROWS)
    call: dict[str, Any] = {
        "program": "a:A",
        "model": "openai/m",
        "prompt_tokens": 7,
        "cost_usd": 0.5,
        "latency_s": 0.25,
    }
    calls = [
        CallRecord(id="1", at=100.0, run_id="run-2", trial=0, row=3, **call),
        CallRecord(
            id="2", at=101.0, run_id="run-2", trial=0, row=4, status="error", error="LMServerError: 500", **call
        ),
        CallRecord(id="3", at=102.0, request_id="req-9", **call),
    ]
    kept.record_calls([record.as_row() for record in calls])
    kept.database.close()
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], store: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(output.out, "width", 160)  # else what the terminal of the first test had

    def once(*words: str, at: str = store) -> tuple[int, str, str]:
        code = main._run(["trace", *words, "--store", at])
        told = capsys.readouterr()
        return code, told.out, told.err

    return once


def lines(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines()]


def test_a_run_is_a_tree_with_times_tokens_cost_and_outcomes(run: Run) -> None:
    code, out, _ = run("run-1")
    assert code == 0
    assert lines(out) == [
        "span time self tokens cost outcome",
        "optimize Route 10.0 s 3.0 s 1,200 + 30 $0.0125",
        "├─ trial 0: invoke_agent task-1 3.0 s 0 µs 1,200 + 30 $0.0125",
        "│ └─ row 5: Route a.b 3.0 s 1.5 s 1,200 + 30 $0.0125",
        "│ └─ chat gpt 1.5 s 1.5 s 1,200 + 30 $0.0125 2 attempts",
        "└─ trial 1: invoke_agent task-2 6.0 s 6.0 s LMTimeoutError: no answer [late]\ufffd",
        "5 spans, 1 model call",
    ]


def test_a_trace_id_and_latest_find_the_same(run: Run) -> None:
    assert run(TRACE)[1] == run("latest")[1] == run("run-1")[1]


def test_only_failures_only_so_many_and_the_slowest_first(run: Run) -> None:
    assert "Route a.b" not in run("run-1", "--errors")[1]
    assert "task-2" in run("run-1", "--errors")[1]
    assert [line for line in lines(run("run-1", "--limit", "2")[1]) if "more" in line] == ["│ └─ 2 more", "└─ 1 more"]
    slowest = run("run-1", "--slowest")[1]
    assert slowest.index("task-2") < slowest.index("task-1")


def test_what_was_said_is_shown_only_on_request_and_to_the_letter(run: Run) -> None:
    assert "Where is" not in run("run-1")[1]
    _, out, _ = run("run-1", "--content")
    assert "chat gpt #1" in out
    assert "\n#1 chat gpt\nin: user: Where is [it]?\ufffd[2J\n" in out
    assert "What was said was not kept of it." in run("run-2", "--content")[1]


def test_json_has_every_span_with_what_is_below_it(run: Run) -> None:
    _, out, _ = run("run-1", "--json")
    found = json.loads(out)
    assert (found["id"], found["source"], found["total"]) == ("run-1", "spans", 5)
    (root,) = found["spans"]
    assert (root["duration_s"], root["self_s"], root["cost_usd"], root["trace_id"]) == (10.0, 3.0, 0.0125, TRACE)
    assert [child["status"] for child in root["children"]] == ["ok", "error"]
    assert root["children"][1]["attributes"]["error.type"] == "LMTimeoutError"


def test_without_spans_the_tree_is_made_of_the_calls_of_the_ledger_and_says_so(run: Run) -> None:
    _, out, _ = run("run-2")
    assert lines(out)[1:5] == [
        "run-2 1.2 s 750 ms 14 + 0 $1.0000",
        "└─ trial 0 1.2 s 14 + 0 $1.0000 1 failed",
        "├─ row 3: chat m 250 ms 250 ms 7 + 0 $0.5000",
        "└─ row 4: chat m 250 ms 250 ms 7 + 0 $0.5000 LMServerError: 500",
    ]
    assert "No spans were kept of it: this is made of the ledger's model calls." in out
    assert json.loads(run("req-9", "--json")[1])["source"] == "ledger"


def test_the_export_holds_every_span_whatever_is_shown(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    code, _, err = run("run-1", "--export", str(file), "--limit", "1")
    assert code == 0
    assert "Wrote 5 spans" in err.replace("\n", " ")
    (scope,) = json.loads(file.read_text())["resourceSpans"][0]["scopeSpans"]
    assert {span["traceId"] for span in scope["spans"]} == {TRACE}
    assert len(scope["spans"]) == 5


def test_an_export_that_cannot_be_written_is_the_users_mistake(run: Run, tmp_path: Path) -> None:
    code, _, err = run("run-1", "--export", str(tmp_path / "no" / "t.json"))
    assert code == 2
    assert "Cannot write" in err


def test_an_unknown_id_is_told_with_those_near_it(run: Run) -> None:
    code, _, err = run("run-11")
    assert code == 2
    assert "Unknown run, request or trace 'run-11'. Did you mean 'run-1' or 'run-2'" in err.replace("\n", " ")


def test_a_store_without_spans_and_calls_says_how_to_have_some(run: Run, tmp_path: Path) -> None:
    for name in ("latest", "run-1"):
        code, _, err = run(name, at=str(tmp_path / "new.db"))
        assert code == 2
        assert "Set DSPEX_TRACE=store, then run one." in err.replace("\n", " ")


def test_latest_is_the_last_call_where_there_are_no_spans(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "calls.db")
    kept = open_store(path)
    calls = [CallRecord(id=str(n), at=float(n), program="a:A", model="m", run_id=f"run-{n}") for n in range(3)]
    kept.record_calls([record.as_row() for record in calls])
    kept.database.close()
    assert json.loads(run("latest", "--json", at=path)[1])["id"] == "run-2"
