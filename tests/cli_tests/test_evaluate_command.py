"""`dspex evaluate`: metrics with options, comparison, report, rows, samples, and Ctrl-C."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Write = Callable[[str, str], str]
EVALUATE = ("evaluate", "shop:Route", "--data", "rows.csv")

_OTHERS = """
import signal

from shop import Route


class Always(Route):
    async def predict(self, input):
        return self.Output(intent="card")


class Stops(Route):
    async def predict(self, input):
        if input.message == "my card is lost 3":
            signal.raise_signal(signal.SIGINT)
        return self.Output(intent="card")


def length(example, output):
    return len(output.intent) == 4, "four letters are right"


def just(value=0.5):
    return lambda example, output: value
"""


@pytest.fixture
def others(write: Write) -> None:
    write("others.py", _OTHERS)


def test_it_tells_the_score_its_interval_and_how_it_was_made(dspex: Run) -> None:
    told = dspex(*EVALUATE, "--json").json
    assert (told["rows"], told["program"], told["version"], told["metric"]) == (240, "shop:Route", "untuned", "Exact")
    assert told["interval_method"] == "Wilson"
    said = dspex(*EVALUATE)
    assert said.code == 0
    assert "95 % interval" in said.out


@pytest.mark.parametrize(
    ("metric", "accuracy"),
    [
        ("others:length", 1.0),
        ("others:just", None),
        ("others:just(value=0.25)", 0.25),
        ("contains(on='intent')", 1 / 3),
    ],
)
def test_a_metric_may_have_options_or_be_ones_own(
    dspex: Run, others: None, metric: str, accuracy: float | None
) -> None:
    said = dspex("evaluate", "others:Always", "--data", "rows.csv", "--metric", metric, "--json")
    if accuracy is None:
        assert said.code == 1
        assert "MetricError" in said.out
    else:
        assert said.json["accuracy"] == pytest.approx(accuracy)


def test_it_compares_with_another_program_on_the_same_rows(dspex: Run, others: None) -> None:
    words = ("evaluate", "others:Always", "--data", "rows.csv")
    told = dspex(*words, "--against", "shop:Route", "--sample", "90", "--json").json
    assert told["against"] == {"program": "shop:Route", "version": "untuned"}
    found = told["comparison"]
    assert found["rows"] == 90
    assert found["second"] == told["accuracy"]
    assert found["better"] + found["worse"] + found["equal"] == 90
    assert found["low"] <= found["difference"] <= found["high"]
    said = dspex(*words, "--against", "shop:Route")
    assert "Against untuned" in said.out
    assert "exact McNemar test: p = " in said.out


def test_it_compares_with_a_version(dspex: Run) -> None:
    dspex("optimize", "shop:Route", "--data", "rows.csv", "--trials", "2", "--runtime", "in-process")
    told = dspex(*EVALUATE, "--version", "latest", "--against", "untuned", "--limit", "20", "--json").json
    assert (told["version"], told["against"]["version"]) == ("1", "untuned")
    assert told["leaked_rows"] > 0
    told = dspex(*EVALUATE, "--against", "1", "--limit", "20", "--json").json
    assert told["against"] == {"program": "shop:Route", "version": "1"}
    assert dspex(*EVALUATE, "--against", "shop:Route@1", "--limit", "20", "--json").json["against"] == told["against"]
    assert "among the program's demonstrations" in dspex(*EVALUATE, "--version", "1", "--limit", "20").err


def test_report_and_rows_are_written(dspex: Run, folder: Path) -> None:
    assert dspex(*EVALUATE, "--limit", "30", "--report", "out.html", "--rows", "out.csv").code == 0
    assert "Evaluation of shop:Route" in (folder / "out.html").read_text(encoding="utf-8")
    assert len((folder / "out.csv").read_text(encoding="utf-8").splitlines()) == 31
    assert dspex(*EVALUATE, "--limit", "3", "--rows", "out.jsonl").code == 0
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0]["expected"] == {"intent": "card"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--report out.pdf", "the file's ending says its form"),
        ("--rows no/out.csv", "the folder no does not exist"),
        ("--sample 0", "sample must be at least 1"),
        ("--sample 3 --limit 3", "not both"),
        ("--metric others:nosuch", "metric in others 'nosuch'"),
        ("--metric numeric(tolerence=1)", "unexpected keyword argument 'tolerence'"),
        ("--against shop:Nothing", "has no 'Nothing'"),
        ("--encoding utf-9", "encoding 'utf-9' is not known"),
        ("--delimiter ab", "A delimiter is one character"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_paid(
    dspex: Run, others: None, options: str, said: str
) -> None:
    answer = dspex(*EVALUATE, *options.split())
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_a_pattern_and_a_named_delimiter_are_read(dspex: Run, write: Write) -> None:
    write("part-1.csv", "message:intent\nmy card:card\n")
    write("part-2.csv", "message:intent\nmy cash:cash\nmy rate:rate\n")
    assert dspex("evaluate", "shop:Route", "--data", "part-*.csv", "--delimiter", ":", "--json").json["rows"] == 3


def test_inputs_with_different_outputs_are_told(dspex: Run, write: Write) -> None:
    write("twice.csv", "message,intent\nhi,card\nho,cash\nhi,cash\n")
    said = dspex("evaluate", "shop:Route", "--data", "twice.csv")
    assert said.code == 0
    assert "1 inputs occur with different outputs, first in rows 1 and 3" in said.err


def test_ctrl_c_says_how_many_rows_are_done_and_writes_them(shell: Run, others: None, folder: Path) -> None:
    words = ("evaluate", "others:Stops", "--data", "rows.csv", "--concurrency", "1", "--rows", "done.csv")
    said = shell(*words)
    assert said.code == 130
    found = re.search(r"Interrupted after (\d+) of 240 rows\. Their mean score is 0\.\d+\.", said.err)
    assert found is not None, said.err
    assert 37 <= int(found[1]) < 45
    assert "Traceback" not in said.err
    assert len((folder / "done.csv").read_text(encoding="utf-8").splitlines()) == int(found[1]) + 1


def test_ctrl_c_with_json_prints_one_object(dspex: Run, others: None) -> None:
    told = dspex("evaluate", "others:Stops", "--data", "rows.csv", "--json")
    assert told.code == 130
    assert set(told.json) == {"error"}
    assert re.match(r"Interrupted after \d+ of 240 rows\. Their mean score is", told.json["error"]["message"])
    assert told.json["error"]["exit_code"] == 130
