"""The learning report of a run: what it tells, that nothing in it is markup, and that its size is bounded."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reported_search import HOSTILE, ROWS, Parity, search

import dspex_ray as dspex
from dspex_coordination import SweepStore
from dspex_coordination.sweep.work import RowResult
from dspex_ray.learning_report.cautions import Findings, cautions, copied_instructions
from dspex_ray.learning_report.changes import DemosChange, InstructionChange, ValueChange, changes
from dspex_ray.learning_report.chart import Point, chart
from dspex_ray.learning_report.learnt import Learnt, learnt
from dspex_ray.learning_report.page import page
from dspex_ray.store import Store


class Tags(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_tells_scores_changes_costs_and_rows(store: Store, tmp_path: Path) -> None:
    found = search(store)
    seen = Tags(found.report(tmp_path / "report.html").read_text(encoding="utf-8"))
    assert found.score == 1.0
    for told in ("0.0 %", "100.0 %", "temperature", "0.0 →", "simulated/hot", "scoring on validation rows", "random"):
        assert told in seen.text
    assert "is " in seen.text.partition("Worst rows")[2]
    assert seen.tags.isdisjoint({"script", "img", "link", "iframe"})
    course = learnt(store, found.run_id)
    assert course.by_calls[-1].score == 1.0
    assert course.by_calls[0].score == 0.0
    assert course.by_cost[-1].x == pytest.approx(sum(trial.cost_usd for trial in found.history))
    assert course.by_calls[-1].x == pytest.approx(course.by_cost[-1].x / 0.001)


def test_hostile_answers_are_shown_as_text(store: Store, tmp_path: Path) -> None:
    found = search(store, high=0.3, trials=3)
    html = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    seen = Tags(html)
    assert "<script" not in html
    assert "<img" not in html
    assert "alert(1)" in seen.text


def test_equal_scores_and_few_rows_are_warned_of_in_result_and_report(store: Store, tmp_path: Path) -> None:
    found = search(store, high=0.3, trials=3)
    assert any(one.startswith("All 3 scored candidates scored 0.0 %") for one in found.warnings)
    assert any("wide interval" in one for one in found.warnings)
    assert found.to_json()["warnings"] == list(found.warnings)
    seen = Tags(found.report(tmp_path / "report.html").read_text(encoding="utf-8"))
    assert all(one in seen.text for one in found.warnings)


def test_a_run_without_a_scored_trial_has_a_report(store: Store) -> None:
    found = search(store, trials=2)
    record = SweepStore(store.database).load(found.run_id)
    SweepStore(store.database).create("begun", record.fingerprint, record.config, 1.0)
    seen = Tags(page(learnt(store, "begun")))
    assert "No candidate has been scored yet." in seen.text
    with pytest.raises(dspex.UsageError, match="begun"):
        learnt(store, "begum")


def test_a_place_that_is_no_html_file_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(dspex.UsageError, match="ending"):
        search(store, trials=2).report(tmp_path / "report.pdf")


def test_the_size_is_bounded_for_a_hundred_thousand_rows(store: Store) -> None:
    small = learnt(store, search(store).run_id)
    rows = tuple(RowResult(row, float(row % 2), {"answer": HOSTILE * 40}) for row in range(100_000))
    points = small.by_calls * 20_000
    large = {name: getattr(small, name) for name in Learnt.__dataclass_fields__}
    html = page(Learnt(**{**large, "rows": rows, "by_calls": points}))
    assert len(html) < 2_000_000
    assert "Of 100,000 validation rows" in html


def test_changes_are_told_by_kind_with_the_advice_that_led_there() -> None:
    before = {"instruction": "Answer.", "heat": 0.1, "demos": {"select": "fixed", "ids": ["a"]}, "same": 1}
    text = "Answer in one word, never two."
    after = {"instruction": text, "heat": 0.9, "demos": {"select": "fixed", "ids": ["a", "b"]}, "same": 1}
    told, value, demos = changes(before, after, {4: {"instruction": text}, 5: {"instruction": "Another one."}})
    assert isinstance(told, InstructionChange)
    assert "".join(piece.text for piece in told.pieces if piece.kind != "removed") == text
    assert told.advice == ((4, {"instruction": text}),)
    assert value == ValueChange("heat", 0.1, 0.9)
    assert demos == DemosChange("demos", "1 fixed", "2 fixed", ("b",))


def test_only_instructions_that_were_changed_are_looked_through_for_copies() -> None:
    rows = dspex.load_data(ROWS, Parity).examples
    copy = "Mind the case 'is 7 even?' and say no."
    wordy = dspex.load_data([{"question": "my card was eaten by the machine", "answer": "no"}], Parity).examples
    told = {"instruction": "If my card was eaten by the machine, say no.", "draft.instruction": copy}
    assert copied_instructions(told, {"draft.instruction": copy}, [*rows, *wordy]) == {
        "instruction": "my card was eaten by the machine"
    }
    assert copied_instructions(told, told, [*rows, *wordy]) == {}


def test_a_large_gap_is_warned_of_and_a_sound_result_is_not() -> None:
    sound = Findings(low=0.85, high=0.92, rows=400, gap=0.02, baseline=0.5, score=0.9, candidate_scores=[0.5, 0.9])
    assert cautions(sound) == ()
    fits = Findings(low=0.85, high=0.92, rows=400, gap=0.15, copied={"instruction": "a b"})
    gap, copy = cautions(fits)
    assert "15.0 points" in gap
    assert copy == "instruction repeats the input of a training row: 'a b'"


def test_costs_add_up_by_kind_and_the_last_look_is_one_of_them(store: Store) -> None:
    found = learnt(store, search(store).run_id)
    text = Tags(page(found)).text
    assert "last look at the best on train rows" in text
    assert "last look, train" in text
    assert "money" in text
    kept = sum(calls for _, calls, _ in found.kinds.values())
    assert 0 <= sum(one.totals.calls for one in found.models) - kept <= 1  # the check before the search


def test_prices_that_are_not_known_are_said_to_be_so_and_draw_no_chart(store: Store) -> None:
    found = learnt(store, search(store).run_id)
    free = [replace(one.totals, cost_usd=0.0, unpriced=one.totals.calls) for one in found.models]
    models = tuple(replace(one, totals=totals) for one, totals in zip(found.models, free, strict=True))
    by_cost = tuple(replace(point, x=0.0) for point in found.by_cost)
    text = Tags(page(replace(found, models=models, by_cost=by_cost))).text
    assert "costnot known" in text
    assert "$" not in text.partition("Trials")[0]


def test_a_run_that_nobody_works_at_is_called_interrupted(store: Store) -> None:
    found = learnt(store, search(store).run_id)
    assert "interrupted: nobody works at it" in page(replace(found, is_stale=True))
    assert "interrupted" not in page(found)


def test_the_front_of_several_objectives_is_shown(store: Store) -> None:
    found = learnt(store, search(store, objectives=("score", "cost_usd")).run_id)
    text = Tags(page(found)).text
    assert "Wanted: large score, small cost_usd" in text
    assert "Front" not in Tags(page(learnt(store, search(store).run_id))).text


def test_a_chart_of_one_free_point_is_drawn() -> None:
    assert "polyline" in chart([Point(0.0, 0.5, 0.4, 0.6)], None, "calls", "")
