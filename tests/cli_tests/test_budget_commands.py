"""`dspex budget ...`, `dspex cost --export` and `--estimate`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.calls import CallRecord
from dspex_ray.cli.main import _run
from dspex_ray.demo.program import DATA
from dspex_ray.lm.prices import price_table
from dspex_ray.store import open_store

parquet: Any = pytest.importorskip("pyarrow.parquet")
DEMO = "dspex_ray.demo.program:ShopRoute"


@pytest.fixture
def store(tmp_path: Path) -> str:
    address = str(tmp_path / "store.db")
    kept = open_store(address)
    fields: list[dict[str, Any]] = [
        {"status": "ok", "cost_usd": 0.5, "prompt_tokens": 10, "module": "draft", "agent": "task-1", "tenant": "acme"},
        {"status": "cached", "cost_usd": 0.0, "tenant": "acme"},
        {"status": "error", "error": "LMServerError: down", "agent": "task-1"},
        {"status": "unknown", "reserved_usd": 0.25, "module": "draft"},
    ]
    rows = [CallRecord(id=str(n), at=float(n), program="a:A", model="m", **one) for n, one in enumerate(fields)]
    kept.record_calls([row.as_row() for row in rows])
    kept.database.close()
    return address


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code = _run([*words, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == found.get("error", {}).get("exit_code", 0)
    return found


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert _run(list(words)) == 0
    return capsys.readouterr().out


def test_a_budget_is_set_changed_listed_shown_and_removed(capsys: pytest.CaptureFixture[str], store: str) -> None:
    at = ("--store", store)
    found = run(capsys, "budget", "set", "program:a:A", "--usd", "5", *at)
    assert (found["key"], found["usd"], found["spent"]["usd"], found["left"]) == (
        "program:a:A",
        5.0,
        0.75,
        {"usd": 4.25},
    )
    run(capsys, "budget", "set", "program:a:A", "--unpriced", "allow", *at)
    run(capsys, "budget", "set", "all", "--calls", "10", "--period", "month", *at)
    listed = run(capsys, "budget", "list", *at)["budgets"]
    assert [(one["key"], one["usd"], one["unpriced"]) for one in listed] == [
        ("all", None, "refuse"),
        ("program:a:A", 5.0, "allow"),
    ]
    text = shown(capsys, "budget", "list", *at)
    assert "program:a:A" in text  # and no picture of a letter
    assert "$0.7500" in text
    assert run(capsys, "budget", "remove", "all", *at) == {"removed": "all"}
    assert "Known: program:a:A" in run(capsys, "budget", "show", "all", *at)["error"]["message"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("set", "house:x", "--usd", "1"), "'house:x' names no budget; write all, tenant:NAME"),
        (("set", "all"), "it caps nothing; give usd, calls or tokens"),
        (("set", "all", "--usd", "-1", "--period", "week"), "period must be one of total, day, month, got 'week'; usd"),
        (("show", "all"), "Unknown budget 'all'"),
        (("remove", "run:r"), "Unknown budget 'run:r'"),
    ],
)
def test_a_wrong_budget_is_the_users_mistake(
    capsys: pytest.CaptureFixture[str], store: str, words: tuple[str, ...], told: str
) -> None:
    error = run(capsys, "budget", *words, "--store", store)["error"]
    assert told in error["message"]
    assert error["exit_code"] == 2


def test_an_empty_list_says_how_to_set_a_budget(capsys: pytest.CaptureFixture[str], store: str) -> None:
    assert "dspex budget set all --usd 10 --period day" in shown(capsys, "budget", "list", "--store", store)


def test_costs_are_told_by_module_agent_tenant_and_status(capsys: pytest.CaptureFixture[str], store: str) -> None:
    lines = run(capsys, "cost", "--by", "module,agent", "--store", store)["lines"]
    assert {(one["module"], one["agent"]): one["calls"] for one in lines} == {
        ("draft", "task-1"): 1,
        ("draft", None): 1,
        (None, "task-1"): 1,
        (None, None): 1,
    }
    assert run(capsys, "cost", "--tenant", "acme", "--store", store)["total"]["calls"] == 2
    assert run(capsys, "cost", "--status", "unknown", "--module", "draft", "--store", store)["total"]["unknown"] == 1
    assert "ok, error, cached, unknown" not in run(capsys, "cost", "--store", store)
    wrong = run(capsys, "cost", "--status", "failed", "--store", store)["error"]
    assert "Unknown status of calls 'failed'" in wrong["message"]


def test_unknown_failed_and_cached_calls_are_told_with_the_date_of_the_prices(
    capsys: pytest.CaptureFixture[str], store: str
) -> None:
    text = " ".join(shown(capsys, "cost", "--store", store).split())
    assert "1 failed, 1 from the cache, 1 of unknown outcome" in text
    assert price_table().dated in text
    assert run(capsys, "cost", "--store", store)["prices"]["dated"] == price_table().dated


def test_lines_and_single_calls_are_exported_as_their_ending_says(
    capsys: pytest.CaptureFixture[str], store: str, tmp_path: Path
) -> None:
    at = ("--store", store, "--by", "status")
    table, lines, calls = (tmp_path / name for name in ("a.csv", "b.jsonl", "c.parquet"))
    run(capsys, "cost", "--export", str(table), *at)
    with table.open() as file:
        assert {row["status"]: row["cost_usd"] for row in csv.DictReader(file)}["ok"] == "0.5"
    run(capsys, "cost", "--export", str(lines), "--each", "--agent", "task-1", *at)
    assert [json.loads(line)["id"] for line in lines.read_text().splitlines()] == ["0", "2"]
    run(capsys, "cost", "--export", str(calls), "--each", *at)
    read = parquet.read_table(calls).to_pylist()
    assert [(row["id"], row["cost_usd"], row["reserved_usd"]) for row in read][3] == ("3", None, 0.25)
    sums = tmp_path / "d.parquet"
    run(capsys, "cost", "--export", str(sums), *at)
    assert sum(row["calls"] for row in parquet.read_table(sums).to_pylist()) == 4


def test_an_export_that_cannot_be_is_the_users_mistake(
    capsys: pytest.CaptureFixture[str], store: str, tmp_path: Path
) -> None:
    assert "must end in .csv" in run(capsys, "cost", "--export", "x.txt", "--store", store)["error"]["message"]
    assert "--export calls.csv" in run(capsys, "cost", "--each", "--store", store)["error"]["message"]
    there = str(tmp_path / "no" / "x.csv")
    assert "Cannot write" in run(capsys, "cost", "--export", there, "--store", store)["error"]["message"]


def test_an_estimate_is_printed_and_nothing_is_asked(capsys: pytest.CaptureFixture[str], store: str) -> None:
    at = (DEMO, "--data", str(DATA), "--estimate", "--store", store, "--lm", "openai/gpt-4o-mini")
    found = run(capsys, "evaluate", *at)["estimate"]
    assert (found["rows"]["likely"], found["sampled"]) == (673.0, 0)
    assert 0 < found["cost_usd"]["low"] < found["cost_usd"]["likely"] < found["cost_usd"]["high"]
    assert price_table().dated in " ".join(shown(capsys, "evaluate", *at).split())
    search = run(capsys, "optimize", *at, "--trials", "10")["estimate"]
    assert search["rows"]["high"] == 10 * search["rows"]["low"]
    assert run(capsys, "cost", "--store", store)["total"]["calls"] == 4
