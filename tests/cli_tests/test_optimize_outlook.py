"""What `dspex optimize` says before it begins, and the budgets it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
ASK = ("optimize", "shop:Route", "--data", "rows.csv", "--store", "runs.db", "--lm", "embedded/nearest")
HERE = ("--runtime", "in-process", "--workers", "1", "--trials", "2")


def test_people_are_told_what_to_expect_and_programs_find_it_in_the_result(dspex: Run, folder: Path) -> None:
    said = dspex(*ASK, *HERE, "--optimizer", "random")
    assert said.code == 0, said.err
    assert "at most 2 trials on 48 validation rows, and for the gap a last look at 20 train rows: 116 to" in said.err
    assert "It ends with the first of: 2 trials." in said.err
    found = dspex(*ASK, *HERE, "--optimizer", "random", "--patience", "9", "--json").json
    assert found["outlook"]["ends"] == ["2 trials", "9 trials without anything better"]
    assert found["outlook"]["calls"]["low"] == 116.0
    assert isinstance(found["warnings"], list)


def test_too_few_calls_are_refused_before_anything_is_asked(dspex: Run, folder: Path) -> None:
    said = dspex(*ASK, *HERE, "--calls", "10")
    assert said.code == 2
    assert "at least 96 calls make sense" in said.err
    assert dspex("sweeps", "list", "--store", "runs.db", "--json").json["sweeps"] == []
