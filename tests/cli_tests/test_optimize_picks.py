"""`dspex optimize --pick`, and the versions of a front in `dspex versions`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASK = ("optimize", "shop:Route", "--data", "rows.csv", "--store", "runs.db", "--lm", "embedded/nearest")
HERE = ("--runtime", "in-process", "--workers", "1", "--trials", "6", "--optimizer", "nsga2")
BOTH = ("--objective", "score", "--objective", "prompt_tokens")


def test_a_picked_result_is_named_with_its_version_which_the_list_shows(dspex: Run, folder: Path) -> None:
    said = dspex(*ASK, *HERE, *BOTH, "--pick", "prompt_tokens=100000", "--json")
    assert said.code == 0, said.err
    picked, front = said.json["picked"], {one["trial"]: one for one in said.json["pareto"]}
    assert picked["measures"]["score"] == max(one["measures"]["score"] for one in front.values())
    assert {"version": picked["version"], "trial": picked["trial"]} in said.json["versions"]
    listed = dspex("versions", "list", "--store", "runs.db")
    assert "prompt" in listed.out
    shown = dspex("versions", "show", f"{said.json['program']}@{picked['version']}", "--store", "runs.db")
    assert f"other objectives: prompt_tokens {picked['measures']['prompt_tokens']:.4g}" in shown.out


def test_people_are_told_trial_and_version(dspex: Run, folder: Path) -> None:
    said = dspex(*ASK, *HERE, *BOTH, "--pick", "quality")
    assert said.code == 0, said.err
    assert "Picked trial " in said.out


def test_a_limit_that_no_result_keeps_is_said_after_the_result(dspex: Run, folder: Path) -> None:
    said = dspex(*ASK, *HERE, *BOTH, "--pick", "prompt_tokens=1")
    assert said.code == 2
    assert "Kept as version" in said.out
    assert "No result keeps the limits" in said.err


@pytest.mark.parametrize("given", [("a=b",), ("cheap", "x=1"), ("x=1", "x=2"), ("x=nan",), ("x=",)])
def test_what_is_no_limit_is_refused_before_the_search(dspex: Run, folder: Path, given: tuple[str, ...]) -> None:
    refused = dspex(*ASK, *HERE, *(part for one in given for part in ("--pick", one)))
    assert refused.code == 2
    assert "--pick takes one preference, or measure=limit" in refused.err
    assert not (folder / "runs.db").exists() or "No versions" in dspex("versions", "list", "--store", "runs.db").out
