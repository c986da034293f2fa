from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from dspex_ray.data import Dataset, load_data
from dspex_ray.errors import DataError
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema, field

ROWS = [{"message": "hi", "intent": "cash"}, {"message": "ho, he", "intent": "card"}]


class Typed(Program):
    class Input(Schema):
        text: str
        limit: int | None = None
        sizes: list[int] = field(default_factory=list)

    class Output(Schema):
        level: Literal[1, 2]
        share: float
        sure: bool = False


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _fault(source: Any, program: type[Program], **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_data(source, program, **options)
    return str(caught.value)


def _outputs(data: Dataset) -> list[dict[str, Any]]:
    return [example.output for example in data.examples]


def test_every_format_gives_the_same_examples(tmp_path: Path, route: type[Program]) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    sources = [
        _file(tmp_path, "d.csv", '\ufeffmessage,intent\nhi,cash\n\n"ho, he",card\n'),
        _file(tmp_path, "d.tsv", "message\tintent\nhi\tcash\nho, he\tcard\n"),
        _file(tmp_path, "d.jsonl", "\n".join(map(json.dumps, ROWS)) + "\n\n"),
        str(_file(tmp_path, "d.json", json.dumps(ROWS))),
        tmp_path / "d.parquet",
        ROWS,
    ]
    loaded = [load_data(source, route) for source in sources]
    assert all(data.examples == loaded[0].examples for data in loaded)
    assert {data.fingerprint for data in loaded} == {loaded[0].fingerprint}
    first = loaded[0].examples[0]
    assert (first.input, first.output, first.label) == ({"message": "hi"}, {"intent": "cash"}, "cash")


def test_a_data_frame_is_known_by_its_to_dict(route: type[Program]) -> None:
    class Frame:
        def to_dict(self, orient: str) -> list[dict[str, Any]]:
            assert orient == "records"
            return [{**row, "confidence": float("nan")} for row in ROWS]

    assert load_data(Frame(), route).examples == load_data(ROWS, route).examples


def test_a_dataset_passes_through(route: type[Program]) -> None:
    data = load_data(ROWS, route)
    assert load_data(data, route) is data


def test_text_cells_become_the_fields_types_and_empty_ones_the_defaults(tmp_path: Path) -> None:
    path = _file(tmp_path, "t.csv", 'text,limit,sizes,level,share,sure\n12,,"[1, 2]",2,0.5,true\nb,7,,1,1,\n')
    first, second = load_data(path, Typed).examples
    assert first.input == {"text": "12", "sizes": [1, 2]}
    assert first.output == {"level": 2, "share": 0.5, "sure": True}
    assert second.input == {"text": "b", "limit": 7}
    assert second.output == {"level": 1, "share": 1.0}


def test_columns_of_other_names_are_mapped_and_the_rest_ignored(tmp_path: Path, route: type[Program]) -> None:
    path = _file(tmp_path, "d.csv", "id,text,category\n1,hi,cash\n")
    data = load_data(path, route, mapping={"message": "text", "intent": "category"})
    assert data.examples[0].input == {"message": "hi"}


def test_missing_columns_are_listed_with_the_mapping_that_would_fit(tmp_path: Path, route: type[Program]) -> None:
    text = _fault(_file(tmp_path, "d.csv", "text,category\nhi,cash\nho,card\n"), route)
    assert "no column for the fields 'message', 'intent'; its columns are 'text', 'category'" in text
    assert "The values of 'category' fit 'intent'." in text
    assert (
        "--map message=text --map intent=category (in Python: mapping={'message': 'text', 'intent': 'category'})"
        in text
    )


def test_no_column_is_suggested_whose_values_do_not_fit(tmp_path: Path, route: type[Program]) -> None:
    text = _fault(_file(tmp_path, "d.csv", "message,a,b\nhi,cash,x\nho,nope,y\n"), route)
    assert "fit" not in text
    assert "--map intent=<column>" in text


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_another_delimiter_is_recognised(tmp_path: Path, route: type[Program], sign: str) -> None:
    path = _file(tmp_path, "d.csv", f"message{sign}intent\nhi{sign}cash\nho, he{sign}card\n")
    assert load_data(path, route).examples == load_data(ROWS, route).examples


def test_a_mapping_to_nothing_is_refused_with_near_matches(route: type[Program]) -> None:
    assert "no field 'mesage' (did you mean 'message'?)" in _fault(ROWS, route, mapping={"mesage": "message"})
    assert "no column 'intant' (did you mean 'intent'?)" in _fault(ROWS, route, mapping={"intent": "intant"})


def test_a_bad_label_is_named_with_file_line_column_and_near_match(tmp_path: Path, route: type[Program]) -> None:
    path = _file(tmp_path, "d.csv", 'text,category\n"two\nlines",cash\nho,crad\n')
    text = _fault(path, route, mapping={"message": "text", "intent": "category"})
    assert text.startswith(f"1 bad value in 1 row of {path}:")
    assert f"{path}, line 4, column 'category' (field intent): 'crad' is not one of" in text
    assert "did you mean 'card'?" in text


def test_all_problems_are_counted_and_five_shown(route: type[Program]) -> None:
    rows = [{"message": 1, "intent": "no"} for _ in range(10)]
    text = _fault(rows, route)
    assert text.startswith("20 bad values in 10 rows of the list:")
    assert text.count("\n  the list, row") == 5
    assert text.endswith("... and 15 more")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "message,intent\nhi,cash\nho,card,more\n", "line 3: 3 cells, but the header has 2 columns"),
        ("a.csv", 'message,intent\nhi,"cash\n', "line 2: malformed CSV"),
        ("a.csv", "message,message\nhi,cash\n", "'message' occurs twice"),
        ("a.csv", "", "holds no rows"),
        ("a.csv", "message,intent\n", "holds no rows"),
        ("a.jsonl", '{"message": "hi", "intent": "cash"}\n{"message": \n', "line 2: malformed JSON"),
        ("a.jsonl", "[1]\n", r"line 1: expected a JSON object, got \[1\]"),
        ("a.json", '[{"message": "hi"', "malformed JSON: .* line 1 column"),
        ("a.json", '{"message": "hi"}', "expected a JSON list of objects"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", "[3]", "row 1: expected an object"),
        ("a.parquet", "no parquet", "no readable Parquet file"),
        ("a.xls", "x", "no data file known here; the endings are '.csv'"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(
    tmp_path: Path, route: type[Program], name: str, text: str, message: str
) -> None:
    path = _file(tmp_path, name, text)
    with pytest.raises(DataError, match=message) as caught:
        load_data(path, route)
    assert str(path) in str(caught.value)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path, route: type[Program]) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(b"message,intent\nh\xe9,cash\n")
    assert "is not UTF-8 text (byte 16" in _fault(path, route)


def test_a_missing_file_is_answered_with_near_names(tmp_path: Path, route: type[Program]) -> None:
    near = _file(tmp_path, "train.csv", "x")
    assert f"did you mean {str(near)!r}?" in _fault(tmp_path / "trian.csv", route)
    assert "neither does the folder" in _fault(tmp_path / "nope" / "train.csv", route)
    (tmp_path / "sub.csv").mkdir()
    assert "is a folder" in _fault(tmp_path / "sub.csv", route)


@pytest.mark.parametrize("source", [3, None, b"x", [], [1]])
def test_what_is_no_data_is_refused(source: object, route: type[Program]) -> None:
    assert _fault(source, route)


def test_equal_rows_get_numbered_ids_and_equal_contents(route: type[Program]) -> None:
    ids = [example.id for example in load_data([*ROWS, ROWS[0], ROWS[0]], route).examples]
    assert ids[2:] == [f"{ids[0]}-2", f"{ids[0]}-3"]
    assert len(set(ids)) == 4


def test_ten_thousand_rows_are_validated_in_less_than_two_seconds(route: type[Program]) -> None:
    rows = [{"message": f"text {i}", "intent": "cash"} for i in range(10_000)]
    started = time.process_time()
    load_data(rows, route)
    assert time.process_time() - started < 2


def test_ten_thousand_bad_rows_are_counted_as_fast(route: type[Program]) -> None:
    rows = [{"message": f"text {i}", "intent": "cach"} for i in range(10_000)]
    started = time.process_time()
    assert _fault(rows, route).startswith("10000 bad values in 10000 rows")
    assert time.process_time() - started < 2
