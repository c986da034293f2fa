"""`dspex sweeps plot`: files that are read back, and what is said where there is nothing to draw."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_runs import VARIABLES, fill

from dspex_coordination import Choice, Demos, Float
from dspex_coordination.analysis import FinishedTrial, SearchRun
from dspex_coordination.candidate import Candidate
from dspex_coordination.objectives import COST, SCORE
from dspex_coordination.space import Space
from dspex_ray.sweep_plots import PlotRequest, plot

Run = Callable[..., Any]
STORE = ("--store", "runs.db")


def png_size(path: Path) -> tuple[int, int]:
    """Decode a PNG down to its pixels and return width and height; fails on anything else."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    chunks, position = b"", 8
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[position + 8 + length : position + 12 + length])[0]
        chunks += body if kind == b"IDAT" else b""
        position += 12 + length
    channels = {2: 3, 6: 4}[colour]
    assert len(zlib.decompress(chunks)) == height * (1 + width * channels * depth // 8)
    return width, height


def search(trials: int = 12, run_id: str = "run-1", **variables: Any) -> SearchRun:
    space = Space(variables or {"x": Float(0.0, 1.0), "kind": Choice(["a", "b"]), "demos": Demos(max=2)})
    candidates = [
        space.complete({"x": i / trials, "kind": "ab"[i % 2], "demos": {"select": "nearest", "k": 1 + i % 2}})
        if not variables
        else space.default()
        for i in range(trials)
    ]
    told = tuple(
        FinishedTrial(i, one, range(10), {"score": (i * 7 % 10) / 10, "cost_usd": 0.01 + i % 3}, 0.1)
        for i, one in enumerate(candidates)
    )
    return SearchRun(run_id, space.to_json(), told, (SCORE, COST))


@pytest.mark.parametrize("kind", ["history", "pareto", "importance", "parallel", "all"])
def test_each_kind_of_plot_is_a_png_of_a_sensible_size(dspex: Run, folder: Path, kind: str) -> None:
    fill(folder / "runs.db")
    told = dspex("sweeps", "plot", "run-1", "--kind", kind, "--out", "plot.png", *STORE, "--json")
    assert told.code == 0
    assert told.json["file"] == "plot.png"
    assert told.json["left_out"] == {}
    width, height = png_size(folder / "plot.png")
    assert 800 < width < 4000
    assert (150 if kind == "importance" else 600) < height < 6000


def test_the_page_holds_the_data_and_all_its_script_and_asks_the_network_for_nothing(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "run-1")
    fill(folder / "runs.db", "run-2", seed=2)
    assert dspex("sweeps", "plot", "run-1", "run-2", "--out", "plot.html", *STORE).code == 0
    page = (folder / "plot.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "vegaEmbed" in page
    library = page[page.index("<script>") : page.index("</script>")]
    ours = page.replace(library, "")
    assert not re.findall(r"<link|<img|<iframe|src=|@import", ours)
    assert set(re.findall(r"https?://[^\s\"]+", ours)) == {"https://vega.github.io/schema/vega-lite/v6.4.1.json"}
    assert not re.findall(r"<script[^>]+src=.?https?:|\bimport\(.?https?:|@import", library)
    best = dspex("sweeps", "show", "run-1", *STORE, "--json").json["best"]
    assert f'"trial": {best["trial"]}, ' in page
    assert f'"value": {best["measures"]["score"]}' in page
    for title in ("trials finished", "cost so far (US dollars)", "score (mean over rows)", "cost (US dollars a row)"):
        assert title in page
    for name in (*VARIABLES, "run-1", "run-2"):
        assert f'"{name}"' in page


def test_text_of_a_candidate_cannot_end_the_script_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    run = search(6, run_id=evil, prompt=Choice([evil, "other"]))
    plot(PlotRequest((run,)), "parallel", tmp_path / "plot.html")
    page = (tmp_path / "plot.html").read_text(encoding="utf-8")
    assert page.count("</script>") == page.count("<script>") == 2
    assert "alert(1)" in page


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        plot(PlotRequest((search(),)), "all", tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_pareto_plot_shows_the_measures_that_were_chosen(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db")
    words = ("--kind", "pareto", "--x", "latency_s", "--y", "reliability", "--out", "plot.html")
    assert dspex("sweeps", "plot", "run-1", *words, *STORE).code == 0
    page = (folder / "plot.html").read_text(encoding="utf-8")
    assert "latency (seconds, mean over rows)" in page
    assert "reliability (share of rows without error)" in page


@pytest.mark.parametrize(
    ("across", "up", "pair"),
    [
        (None, None, ("cost_usd", "score")),
        ("latency_s", None, ("latency_s", "score")),
        (None, "latency_s", ("score", "latency_s")),
        ("score", None, ("score", "cost_usd")),
    ],
)
def test_measures_not_chosen_are_the_objectives(across: str | None, up: str | None, pair: tuple[str, str]) -> None:
    assert PlotRequest((search(),), across=across, up=up).pair == pair


def test_what_cannot_be_drawn_is_left_out_of_all_with_its_reason(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", trials=2)
    told = dspex("sweeps", "plot", "run-1", "--out", "plot.png", *STORE, "--json").json
    assert told["kinds"] == ["history", "pareto", "parallel"]
    assert "importance needs at least 4" in told["left_out"]["importance"]
    said = dspex("sweeps", "plot", "run-1", "--out", "plot.png", *STORE)
    assert said.code == 0
    assert "Without importance: Sweep 'run-1' has 2 trials" in said.err


def test_a_plot_of_nothing_is_an_error_and_writes_no_file(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", units=1)
    said = dspex("sweeps", "plot", "run-1", "--out", "plot.png", *STORE)
    assert (said.code, said.out) == (1, "")
    assert "Sweep 'run-1' has no scored trial yet, so there is nothing to look at." in said.err
    assert not (folder / "plot.png").exists()


def test_a_search_of_many_trials_makes_a_page_of_bounded_size(tmp_path: Path) -> None:
    sizes = []
    for trials in (6_000, 24_000):
        told = tuple(
            FinishedTrial(i, Candidate({"x": i / trials}), range(1), {"score": i * 0.618 % 1, "cost_usd": 1.0}, 0.1)
            for i in range(trials)
        )
        run = SearchRun("run-1", Space({"x": Float(0.0, 1.0)}).to_json(), told)
        plot(PlotRequest((run,)), "all", tmp_path / "plot.html")
        sizes.append((tmp_path / "plot.html").stat().st_size)
    assert sizes[1] < 1.1 * sizes[0]


def test_without_the_extra_one_sentence_names_it(folder: Path) -> None:
    fill(folder / "runs.db", trials=2)
    script = """
import sys
sys.modules["vl_convert"] = None
from dspex_ray.cli.main import _run
sys.exit(_run(["sweeps", "plot", "run-1", "--out", "plot.png", "--store", "runs.db"]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "Plots need 'vl_convert': pip install 'dspex-ray[plots]'.\n"


def test_neither_lists_nor_charts_data_load_the_chart_library(folder: Path) -> None:
    fill(folder / "runs.db", trials=2)
    script = """
import sys
from dspex_ray.cli.main import _run
import dspex_ray.sweep_plots
codes = [_run(["sweeps", *words, "--store", "runs.db"]) for words in (["list"], ["show", "run-1"], ["watch", "run-1"])]
sys.exit(any(codes) or any(name in sys.modules for name in ("altair", "vl_convert", "ray", "litellm")))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
