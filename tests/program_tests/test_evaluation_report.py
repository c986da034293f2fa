"""The rows as list, frame, CSV and JSON Lines, and the report as a page that shows hostile values as text."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.errors import UsageError
from dspex_ray.evaluation import Evaluation, RowScore, evaluate, summarize
from dspex_ray.evaluation_report.figures import confusions, histogram, percentile
from dspex_ray.evaluation_report.page import page
from dspex_ray.example import make_example
from dspex_ray.lm.base import LMRequest
from dspex_ray.metrics import Scored
from dspex_ray.programs.program import Program

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></tr></table></script><script>alert(2)</script>",
    "' onmouseover='alert(3)",
    "&lt;b&gt; \x00 \u202e \ud800",
    "<!-- -->]]><style>*{display:none}</style>",
    "javascript:alert(4)",
]
ROWS = [{"message": f"{HOSTILE[i % len(HOSTILE)]} {i}", "intent": ("cash", "card", "rate")[i % 3]} for i in range(21)]


class _Page(HTMLParser):
    """Collects tags, scripts and texts as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_cell = tag == "td"
        if self._in_cell:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


@pytest.fixture
def evaluation(route: type[Program], scripted: Any) -> Evaluation:
    def answer(request: LMRequest) -> str:
        number = int(request.messages[1].content.rsplit(" ", 1)[1])
        return HOSTILE[0] if number == 4 else f'{{"intent": "{"cash" if number % 2 else "card"}"}}'

    def graded(example: Any, output: Any) -> Scored:
        right = output.intent == example.output["intent"]
        return Scored(float(right), None if right else HOSTILE[1], {"length": len(example.input["message"])})

    rows = [{**row, "message": row["message"].replace("\ud800", "?")} for row in ROWS]
    return evaluate(route().with_lm(scripted(answer)), rows, metric=graded)


def test_the_table_has_what_was_asked_expected_given_and_paid(evaluation: Evaluation) -> None:
    rows = evaluation.table()
    assert [row["row"] for row in rows] == list(range(21))
    first = rows[0]
    assert first["input"] == {"message": ROWS[0]["message"]}
    assert first["expected"] == {"intent": "cash"}
    assert first["output"] == {"intent": "card", "confidence": 1.0}
    assert (first["score"], first["feedback"], first["error"]) == (0.0, HOSTILE[1], None)
    assert (first["cost_usd"], first["calls"]) == (0.5, 1)
    assert first["measures"] == {"length": float(len(ROWS[0]["message"]))}
    assert rows[4]["output"] is None
    assert rows[4]["error"].startswith("OutputError")
    assert rows[4]["feedback"] == rows[4]["error"]
    assert evaluation.measures["length"] > 0


def test_the_frame_has_a_column_for_each_field(evaluation: Evaluation) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is no dependency")
    frame = evaluation.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns)[:6] == [
        "row", "id", "input.message", "expected.intent", "output.intent", "output.confidence",
    ]  # fmt: skip
    assert frame["score"].mean() == pytest.approx(evaluation.accuracy)


def test_csv_and_json_lines_hold_every_value_as_it_was(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write_rows(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["input.message"] for row in rows] == [row["input"]["message"] for row in evaluation.table()]
    assert [float(row["score"]) for row in rows] == [one.score for one in evaluation.scores]
    evaluation.write_rows(tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == evaluation.table()


def test_the_report_shows_hostile_values_as_text(evaluation: Evaluation) -> None:
    text = page(evaluation, title=HOSTILE[2], most_rows=100)
    seen = _Page(text)
    names = [tag for tag, _ in seen.tags]
    assert names.count("script") == names.count("style") == 1
    assert not {"img", "iframe", "link", "object", "embed", "a", "base", "form"} & set(names)
    assert not any(key.startswith("on") for _, attributes in seen.tags for key in attributes)
    assert not any(key in ("src", "href") for _, attributes in seen.tags for key in attributes)
    for row in evaluation.table():
        assert row["input"]["message"].replace("\x00", "") in [cell.replace("\x00", "") for cell in seen.cells]


def test_the_page_allows_no_script_but_its_own_and_loads_nothing(evaluation: Evaluation) -> None:
    text = page(evaluation, title="x", most_rows=10)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "http://" not in text
    assert "https://" not in text


def test_the_worst_rows_come_first_and_errors_before_wrong_ones(evaluation: Evaluation) -> None:
    text = page(evaluation, title="x", most_rows=5)
    scores = [float(score) for score in re.findall(r'<tr data-score="([^"]+)"', text)]
    assert scores == sorted(one.score for one in evaluation.scores)[:5]
    assert re.findall(r'data-failed="(\d)"', text) == ["1", "0", "0", "0", "0"]
    assert "the 5 worst of 21 rows" in text


def test_the_report_has_figures_with_intervals_histogram_and_confusion(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write_report(tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert f"95 % interval {100 * evaluation.low:.1f} % to {100 * evaluation.high:.1f} %, Wilson" in text.replace(
        "(", ""
    )
    assert "p95" in text
    assert "<svg" in text
    assert "Confusion of intent" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "out.html"]


def test_the_confusion_counts_every_row_once_and_names_missing_outputs(evaluation: Evaluation) -> None:
    (found,) = confusions(evaluation)
    assert found.counts.total() == 21
    assert found.labels == ("cash", "card", "rate", "(none)")
    assert found.counts["card", "(none)"] == 1
    assert sum(count for _, _, count in found.mistakes(100)) == sum(one.score < 1 for one in evaluation.scores)


def test_a_report_of_many_labels_lists_the_most_frequent_mistakes() -> None:
    labels = [f"label {i}" for i in range(30)]

    examples = [make_example({"i": i}, {"x": label}) for i, label in enumerate(labels)]
    rows = [RowScore(row=i, example_id=e.id, score=0.0, output={"x": "label 0"}) for i, e in enumerate(examples)]
    text = page(summarize(rows, 0.0, examples, literals={"x": tuple(labels)}), title="x", most_rows=3)
    assert "The most frequent mistakes among 30 labels." in text
    assert text.count("<td>label 0</td>") >= 20


def test_long_values_are_cut_and_say_so() -> None:
    row = RowScore(row=0, example_id="e", score=0.0, output={"x": "y" * 5000})
    text = page(summarize([row], 0.0), title="x", most_rows=3)
    assert "y" * 2000 + " ... (3000 characters more)" in text
    assert "y" * 2001 not in text


def test_half_a_surrogate_pair_does_not_break_the_files(tmp_path: Path) -> None:
    evaluation = summarize([RowScore(row=0, example_id="e", score=0.0, output={"x": "\ud800"})], 0.0)
    evaluation.write_report(tmp_path / "r.html")
    evaluation.write_rows(tmp_path / "r.csv")
    evaluation.write_rows(tmp_path / "r.jsonl")
    assert "\\ud800" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "r.jsonl").read_text(encoding="utf-8"))["output"] == {"x": "\ud800"}


@pytest.mark.parametrize(
    ("name", "said"), [("r.txt", "the file's ending says"), ("no/r.csv", "does not exist"), ("d.csv", "is a folder")]
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(UsageError, match=said):
        summarize([RowScore(row=0, example_id="e", score=0.0)], 0.0).write_rows(tmp_path / name)


def test_percentiles_and_histogram_count_every_row() -> None:
    assert [percentile([3, 1, 2, 4], share) for share in (0.0, 0.5, 0.75, 1.0)] == [1, 2, 3, 4]
    assert histogram([0.0, 1.0, 0.999, 0.05], 20) == [1, 1, *[0] * 17, 2]
