"""`dspex experiment`: started, looked at, drawn, stopped and promoted from the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.experiment_scene import Scene

Run = Callable[..., Any]
START = ("experiment", "start", "tone", "--endpoint", "shop", "--arms", "carried=0.5,1=0.5")


@pytest.fixture
def scene(folder: Path) -> Scene:
    (folder / ".dspex").mkdir()
    return Scene(folder / ".dspex" / "dspex.db")


def answered(scene: Scene, dspex: Run, count: int = 1200) -> None:
    assert dspex(*START, "--metrics", "success,latency").code == 0
    one = scene.experiments.named("tone")
    scene.answer(one, count, {"carried": 0.6, "1": 0.8}, begin=one.started_at + 1)


def test_an_experiment_goes_from_start_to_promotion(scene: Scene, dspex: Run) -> None:
    answered(scene, dspex)
    said = dspex("experiment", "status", "tone")
    lines = said.out.replace("\n", " ")
    assert said.code == 0
    assert "tone on shop, running: of 1,200 users the arms got carried" in lines
    assert "- 1 is better than carried in success by +" in lines
    found = dspex("experiment", "status", "tone", "--json").json
    assert (found["winner"], found["sample_ratio"]["alarm"], found["warnings"]) == ("1", False, [])
    assert [each["metric"] for each in found["findings"]] == ["success", "latency"]
    assert "1 50 %" in dspex("experiment", "status").out
    assert dspex("experiment", "promote", "tone").out == "Promoted 1: it gets all requests of shop.\n"
    listed = dspex("experiment", "status", "--json").json["experiments"]
    assert [(each["name"], each["status"], each["promoted"]) for each in listed] == [("tone", "promoted", "1")]
    assert scene.plans.current("shop").plan.versions == ("1",)


def test_the_plot_loads_nothing_and_shows_each_difference_over_time(scene: Scene, dspex: Run, folder: Path) -> None:
    answered(scene, dspex, 400)
    said = dspex("experiment", "status", "tone", "--plot", "tone.html", "--json")
    drawn = (folder / "tone.html").read_text(encoding="utf-8")
    assert said.json["file"] == "tone.html"
    assert drawn.count("<svg") == 2
    assert not re.search(r"<script|<link|<img|https?:|@import|url\(", drawn)
    told = said.json["findings"][0]["told"]
    assert told in drawn
    assert all(len(points.split()) >= 2 for points in re.findall(r'points="([^"]*)"', drawn))
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_a_start_says_that_there_is_no_data_until_requests_are_recorded(scene: Scene, dspex: Run) -> None:
    said = dspex(*START, "--json")
    assert (said.code, said.json["status"]) == (0, "running")
    assert "No request of shop is recorded in this store" in said.err
    scene.answer(scene.experiments.named("tone"), 20, {"carried": 1.0, "1": 1.0})
    dspex("experiment", "stop", "tone")
    assert dspex("experiment", "start", "next", *START[3:]).err == ""


def test_before_the_first_request_nothing_is_drawn_and_nothing_said(scene: Scene, dspex: Run, folder: Path) -> None:
    dspex(*START)
    said = dspex("experiment", "status", "tone", "--plot", "tone.html")
    assert (said.code, "nothing can be said yet" in said.out.replace("\n", " ")) == (0, True)
    assert "<svg" not in (folder / "tone.html").read_text(encoding="utf-8")


def test_a_stopped_experiment_leaves_the_traffic_and_needs_an_arm_to_be_promoted(scene: Scene, dspex: Run) -> None:
    dspex(*START)
    assert dspex("experiment", "stop", "tone").out == "Stopped tone; the traffic of shop stays as it is.\n"
    assert scene.plans.current("shop").revision == 2
    said = dspex("experiment", "promote", "tone")
    assert (said.code, "surely better in success" in said.err) == (2, True)
    assert dspex("experiment", "promote", "tone", "--arm", "carried", "--json").json["promoted"] == "carried"
    assert [line["action"] for line in dspex("audit", "list", "--json").json["entries"]] == [
        "experiment.start",
        "experiment.stop",
        "experiment.promote",
    ]


def test_requests_of_a_running_experiment_are_not_pruned(scene: Scene, dspex: Run) -> None:
    scene.answer(scene.start(), 20, {"carried": 1.0, "1": 1.0})
    assert dspex("data", "prune", "--older-than-days", "1", "--json").json == {"removed": 0}
    dspex("experiment", "stop", "tone")
    assert dspex("data", "prune", "--older-than-days", "1", "--json").json == {"removed": 20}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("start tone --endpoint shpo --arms carried=0.5,1=0.5", "Did you mean 'shop'?"),
        ("start tone --endpoint shop --arms carried=0.5,9=0.5", "version"),
        ("start tone --endpoint shop --arms carried=0.5,1=0.6", "the weights sum to 1.1, not to 1"),
        ("start tone --endpoint shop --arms carried", "'carried' is no version=weight"),
        ("start tone --endpoint shop --arms carried=0.5,1=0.5 --metrics sucess", "did you mean 'success'"),
        ("start tone --endpoint shop --arms carried=0.5,1=0.5 --alpha 2", "alpha is between 0 and 0.5, got 2.0"),
        ("start tone --endpoint shop --arms carried=0.5,1=0.5 --unit day", "--unit is user or request, got 'day'"),
        ("start tone --endpoint shop --arms carried=0.5,1=0.5 --sticky-header a:b", "'a:b' is no header's name"),
        ("start To-ne --endpoint shop --arms carried=0.5,1=0.5", "'To-ne' is no name"),
        ("start tone --arms carried=0.5,1=0.5", "Missing option '--endpoint'"),
        ("status tony", "Unknown experiment 'tony'"),
        ("status --plot tone.html", "--plot draws one experiment; name it."),
        ("status tone --plot tone.png", "the file's ending says its form"),
        ("stop tony", "Unknown experiment 'tony'"),
        ("promote tony", "Unknown experiment 'tony'"),
    ],
)
def test_mistakes_are_told_and_change_nothing(scene: Scene, dspex: Run, words: str, told: str) -> None:
    said = dspex("experiment", *words.split())
    assert said.code == 2
    assert told in said.err.replace("\n", " ")
    assert scene.plans.current("shop").revision == 1
    assert scene.experiments.listed() == []
