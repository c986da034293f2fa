"""`dspex cost`: sums by what calls were made for, filters, export, and what is said of bad input."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.calls import CallRecord
from dspex_ray.cli import main
from dspex_ray.store import open_store

DAY = datetime(2026, 11, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = str(tmp_path / "s.db")
    records = [
        CallRecord(id="1", at=DAY, program="a:A", model="m", prompt_tokens=10, cost_usd=0.5, run_id="r1"),
        CallRecord(id="2", at=DAY + 86_399, program="a:A", model="n", completion_tokens=7, cost_usd=2.0, run_id="r1"),
        CallRecord(id="3", at=DAY + 86_400, program="b:B", model="m", cost_usd=0.25, status="error", error="x"),
        CallRecord(id="4", at=DAY + 90_000, program="b:B", model="m", cost_usd=0.0, status="cached"),
        CallRecord(id="5", at=DAY + 90_000, program="b:B", model="free", cost_usd=None),
    ]
    kept = open_store(path)
    kept.record_calls([record.as_row() for record in records])
    kept.database.close()
    return path


def run(capsys: pytest.CaptureFixture[str], store: str, *words: str) -> tuple[int, dict[str, Any]]:
    code = main._run(["cost", "--store", store, *words, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_costs_are_told_by_what_is_named_the_dearest_first(capsys: pytest.CaptureFixture[str], store: str) -> None:
    _, found = run(capsys, store, "--by", "program")
    assert [(line["program"], line["calls"], line["cost_usd"]) for line in found["lines"]] == [
        ("a:A", 2, 2.5),
        ("b:B", 3, 0.25),
    ]
    assert found["total"] == {
        "calls": 5,
        "failed": 1,
        "cached": 1,
        "unknown": 0,
        "unpriced": 1,
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "cost_usd": 2.75,
    }
    _, found = run(capsys, store, "--by", "run,model")
    assert {(line["run"], line["model"]): line["calls"] for line in found["lines"]} == {
        ("r1", "n"): 1,
        ("r1", "m"): 1,
        (None, "m"): 2,
        (None, "free"): 1,
    }


def test_days_are_those_of_utc(capsys: pytest.CaptureFixture[str], store: str) -> None:
    _, found = run(capsys, store, "--by", "day")
    assert [(line["day"], line["calls"]) for line in found["lines"]] == [("2026-11-01", 2), ("2026-11-02", 3)]


def test_filters_leave_the_rest_out(capsys: pytest.CaptureFixture[str], store: str) -> None:
    assert run(capsys, store, "--since", "2026-11-02")[1]["total"]["calls"] == 3
    assert run(capsys, store, "--until", "2026-11-02")[1]["total"]["calls"] == 2
    assert run(capsys, store, "--run", "r1", "--model", "m")[1]["total"]["cost_usd"] == 0.5
    assert run(capsys, store, "--program", "none:N")[1]["lines"] == []


def test_lines_are_written_to_a_file(capsys: pytest.CaptureFixture[str], store: str, tmp_path: Path) -> None:
    run(capsys, store, "--by", "program", "--csv", str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["program"], row["cost_usd"]) for row in rows] == [("a:A", "2.5"), ("b:B", "0.25")]


def test_people_see_a_table_with_a_sum(capsys: pytest.CaptureFixture[str], store: str) -> None:
    assert main._run(["cost", "--store", store]) == 0
    text = capsys.readouterr().out
    assert "$2.7500" in text
    assert "1 failed, 1 from the cache, 1 without a known price" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "programme"), "Unknown grouping of costs 'programme'. Did you mean 'program'?"),
        (("--since", "yesterday"), "'yesterday' is no day or time; write it like 2026-11-01"),
        (("--csv", "/no/such/folder/x.csv"), "Cannot write /no/such/folder/x.csv"),
    ],
)
def test_bad_input_is_told(capsys: pytest.CaptureFixture[str], store: str, words: tuple[str, ...], said: str) -> None:
    code, found = run(capsys, store, *words)
    assert code == 2
    assert said in found["error"]["message"]
