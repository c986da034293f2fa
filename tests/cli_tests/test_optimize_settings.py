"""`dspex optimize --set name=value`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASK = ("optimize", "shop:Route", "--data", "rows.csv", "--store", "runs.db", "--lm", "embedded/nearest")
HERE = ("--runtime", "in-process", "--workers", "1", "--trials", "2", "--optimizer", "genetic")


def test_settings_are_json_or_text_and_kept_with_the_version(dspex: Run, folder: Path) -> None:
    said = dspex(*ASK, *HERE, "--set", "population=3", "--set", "patience=null", "--json")
    assert said.code == 0, said.err
    shown = dspex("versions", "show", said.json["program"] + "@1", "--store", "runs.db", "--json").json
    assert "'settings': {'population': 3, 'patience': None}" in str(shown)


@pytest.mark.parametrize("more", [(), ("--estimate",)])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--set", "populaton=3"), "Did you mean 'population'?"),
        (("--set", "population=many"), "'genetic' takes population as int, got 'many'"),
        (("--set", "population"), "--set takes name=value, got 'population'"),
        (("--set", "population=3", "--set", "population=4"), "--set names the setting 'population' twice"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    dspex: Run, folder: Path, more: tuple[str, ...], given: tuple[str, ...], said: str
) -> None:
    refused = dspex(*ASK, *HERE, *given, *more)
    assert refused.code == 2
    assert said in refused.err
