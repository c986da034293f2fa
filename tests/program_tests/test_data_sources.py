"""Several files, patterns, frames, iterators, delimiters, encodings, and how many rows are kept."""

from __future__ import annotations

import contextlib
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dspex_ray.data import Dataset, load_data
from dspex_ray.data_files import Take
from dspex_ray.errors import DataError
from dspex_ray.metrics.number_text import number_of
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema

LABELS = ("cash", "card", "rate")
ROWS = [{"message": f"m {i}", "intent": LABELS[i % 3]} for i in range(12)]


class Solve(Program):
    class Input(Schema):
        question: str

    class Output(Schema):
        answer: str


class Topic(Program):
    class Input(Schema):
        text: str

    class Output(Schema):
        category: str


def _csv(path: Path, rows: list[dict[str, str]], encoding: str = "utf-8") -> Path:
    lines = "".join(f"{row['message']},{row['intent']}\n" for row in rows)
    path.write_text(f"message,intent\n{lines}", encoding=encoding)
    return path


def _jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _fault(source: Any, program: type[Program], **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_data(source, program, **options)
    return str(caught.value)


def test_several_files_of_any_kind_are_one_data_set(tmp_path: Path, route: type[Program]) -> None:
    paths = [_csv(tmp_path / "a.csv", ROWS[:5]), str(_jsonl(tmp_path / "b.jsonl", ROWS[5:]))]
    data = load_data(paths, route)
    assert data.examples == load_data(ROWS, route).examples
    assert data.source.startswith("2 files (")


def test_a_pattern_of_names_is_read_in_their_order(tmp_path: Path, route: type[Program]) -> None:
    _jsonl(tmp_path / "part-2.jsonl", ROWS[6:])
    _jsonl(tmp_path / "part-1.jsonl", ROWS[:6])
    assert load_data(tmp_path / "part-*.jsonl", route).examples == load_data(ROWS, route).examples
    assert "No file fits the pattern" in _fault(str(tmp_path / "nothing-*.jsonl"), route)
    (tmp_path / "odd[1].jsonl").write_bytes((tmp_path / "part-1.jsonl").read_bytes())
    assert len(load_data(tmp_path / "odd[1].jsonl", route)) == 6


def test_a_bad_row_of_several_files_is_named_with_its_own_file(tmp_path: Path, route: type[Program]) -> None:
    paths = [_csv(tmp_path / "a.csv", ROWS), _jsonl(tmp_path / "b.jsonl", [*ROWS, {"message": "x", "intent": "crad"}])]
    assert f"{tmp_path / 'b.jsonl'}, line 13, column 'intent'" in _fault(paths, route)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_encoding_is_known_by_its_mark(tmp_path: Path, route: type[Program], encoding: str) -> None:
    rows = [{"message": "café ☕ 日本", "intent": "cash"}]
    path = _csv(tmp_path / "d.csv", rows, encoding)
    assert load_data(path, route).examples == load_data(rows, route).examples


def test_any_other_encoding_has_to_be_named(tmp_path: Path, route: type[Program]) -> None:
    rows = [{"message": "plain", "intent": "cash"}] * 4000 + [{"message": "café", "intent": "cash"}]
    path = _csv(tmp_path / "d.csv", rows, "cp1252")
    text = _fault(path, route)
    assert "line 4002" in text
    assert f"byte {path.read_bytes().index(0xE9)}:" in text
    assert "with 'cp1252' the line begins 'café,cash'" in text
    assert load_data(path, route, encoding="cp1252").examples[-1].input == {"message": "café"}
    assert "the encoding 'utf-9' is not known" in _fault(path, route, encoding="utf-9")


def test_a_delimiter_that_could_be_two_has_to_be_named(tmp_path: Path, route: type[Program]) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a;b|c\n1;2|3\n", encoding="utf-8")
    assert "may be divided by ';', '|'; name the delimiter" in _fault(path, route)
    path.write_text("message:intent\na:card\n", encoding="utf-8")
    assert load_data(path, route, delimiter=":").examples[0].output == {"intent": "card"}
    assert "It looks divided by ':': name that delimiter." in _fault(path, route, delimiter=",")
    assert "A delimiter is one character" in _fault(path, route, delimiter="::")


def test_a_comma_in_the_header_goes_before_other_signs_in_the_text(tmp_path: Path, route: type[Program]) -> None:
    path = tmp_path / "d.csv"
    path.write_text("message,intent\na;b;c,card\nd|e,cash\n", encoding="utf-8")
    assert [example.input["message"] for example in load_data(path, route).examples] == ["a;b;c", "d|e"]


def test_a_quoted_cell_over_many_lines_does_not_hide_the_delimiter(tmp_path: Path, route: type[Program]) -> None:
    path = tmp_path / "d.csv"
    long = "\n".join(f"line {i}, and so on" for i in range(200))
    path.write_text(f'message;intent\n"{long}";card\n', encoding="utf-8")
    assert load_data(path, route).examples[0].input["message"] == long


def test_pandas_frames_are_read_with_their_empty_cells(route: type[Program]) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is no dependency")
    frame = pandas.DataFrame([*ROWS, {"message": "x", "intent": "card", "confidence": 0.5}])
    frame["confidence"] = frame["confidence"].astype("Float64")
    data = load_data(frame, route)
    assert data.examples[:12] == load_data(ROWS, route).examples
    assert data.examples[12].output == {"intent": "card", "confidence": 0.5}


def test_polars_frames_and_arrow_tables_are_known_by_their_methods(route: type[Program]) -> None:
    class Polars:
        def to_dicts(self) -> list[dict[str, str]]:
            return ROWS

        def to_dict(self) -> dict[str, list[str]]:
            raise AssertionError("polars gives columns here")

    expected = load_data(ROWS, route).examples
    assert load_data(Polars(), route).examples == expected
    assert load_data(pa.Table.from_pylist(ROWS), route).examples == expected


class _HuggingFace:
    """What a `datasets.Dataset` shows: features, column names, rows of dicts, a columnar `to_dict`."""

    class ClassLabel:
        names: ClassVar[list[str]] = list(LABELS)

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.features = {"message": object(), "intent": self.ClassLabel()}
        self.column_names = ["message", "intent"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def to_dict(self) -> dict[str, list[Any]]:
        raise AssertionError("a data set is read row by row")


def test_a_hugging_face_data_set_gives_the_names_of_its_labels(route: type[Program]) -> None:
    numbered = [{**row, "intent": LABELS.index(row["intent"])} for row in ROWS]
    assert load_data(_HuggingFace(numbered), route).examples == load_data(ROWS, route).examples


def test_several_splits_are_refused_with_how_to_choose_one(route: type[Program]) -> None:
    class Splits(dict[str, Any]):
        column_names = MappingProxyType({"train": ["message"], "test": ["message"]})
        features = None

    assert "the splits 'train', 'test'; give one of them: data['train']" in _fault(Splits(train=ROWS, test=ROWS), route)
    assert "give one of them, such as data['train']" in _fault({"train": ROWS}, route)


def test_an_iterator_is_read_no_further_than_the_limit(route: type[Program]) -> None:
    endless = ({"message": f"m {i}", "intent": LABELS[i % 3]} for i in itertools.count())
    assert load_data(endless, route, take=Take(limit=12)).examples == load_data(ROWS, route).examples
    assert next(endless)["message"] == "m 12"
    assert load_data(iter(ROWS), route).source == "the iterator"


def test_a_sample_is_seeded_keeps_the_order_and_misses_no_row_always(tmp_path: Path, route: type[Program]) -> None:
    path = _jsonl(tmp_path / "d.jsonl", ROWS)
    drawn = [load_data(path, route, take=Take(sample=4, seed=seed)) for seed in range(60)]
    assert drawn[3].examples == load_data(path, route, take=Take(sample=4, seed=3)).examples
    positions = [[ROWS.index({**e.input, **e.output}) for e in data.examples] for data in drawn]
    assert all(len(found) == 4 and found == sorted(found) for found in positions)
    assert set(itertools.chain.from_iterable(positions)) == set(range(12))
    assert load_data(path, route, take=Take(sample=100)).examples == load_data(ROWS, route).examples


@pytest.mark.parametrize("bad", [{"limit": 0}, {"sample": 0}, {"limit": 1, "sample": 1}])
def test_a_take_that_is_none_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(DataError):
        Take(**bad)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_sample_of_a_large_file_needs_little_memory(tmp_path: Path, route: type[Program], ending: str) -> None:
    path = tmp_path / f"d.{ending}"
    rows = [{"message": f"{i} " + "x" * 500, "intent": "cash"} for i in range(20_000)]
    {"csv": _csv, "jsonl": _jsonl, "parquet": lambda p, r: pq.write_table(pa.Table.from_pylist(r), p)}[ending](
        path, rows
    )
    del rows
    tracemalloc.start()
    data = load_data(path, route, take=Take(sample=50))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) == 50
    assert peak < 7_000_000  # the file holds over 10 MB of text


def test_rows_of_one_group_stay_on_one_side(route: type[Program]) -> None:
    rows = [{**row, "customer": f"c{i // 3}"} for i, row in enumerate(ROWS)]
    data = load_data(rows, route, group_by="customer")
    for seed in range(20):
        train, held = data.split(seed, 0.25)
        assert train.groups is not None
        assert held.groups is not None
        assert not set(train.groups) & set(held.groups)
        assert (len(train), len(held)) == (9, 3)
    assert "no column 'custmer' to group by (did you mean 'customer'?)" in _fault(rows, route, group_by="custmer")


def test_banking77_is_read_as_it_is(shared_data: Path) -> None:
    test = load_data(shared_data / "banking77" / "test.csv", Topic)
    train = load_data(shared_data / "banking77" / "train.csv", Topic)
    assert (len(test), len(train)) == (3080, 10_003)
    assert len({example.output["category"] for example in train.examples}) == 77
    assert test.examples[0].input == {"text": "How do I locate my card?"}
    assert test.examples[0].output == {"category": "card_arrival"}
    both = load_data(str(shared_data / "banking77" / "t*.csv"), Topic)
    assert len(both) == len(test) + len(train)


def test_gsm8k_states_one_number_in_every_answer(shared_data: Path) -> None:
    data: Dataset = load_data(shared_data / "gsm8k" / "test.jsonl", Solve)
    assert len(data) == 1319
    numbers = [number_of(example.output["answer"]) for example in data.examples]
    assert None not in numbers
    assert numbers[:3] == [18, 3, 70000]
    assert len(load_data(shared_data / "gsm8k" / "train-first-1000.jsonl", Solve)) == 1000


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))),
    st.sampled_from(
        [b"", b"\xff\xfe", b"\xef\xbb\xbf", b"message,intent\n", b'{"message": "x", "intent": "card"}\n', b"PAR1"]
    ),
    st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".parquet"]),
)
def test_no_bytes_of_a_file_lead_to_anything_but_data_or_an_error_of_data(
    tmp_path: Path, route: type[Program], body: bytes, head: bytes, ending: str
) -> None:
    path = tmp_path / f"any{ending}"
    path.write_bytes(head + body)
    with contextlib.suppress(DataError):
        assert len(load_data(path, route)) > 0
