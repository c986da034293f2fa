"""The rows of an evaluation as a list of dicts, a data frame, a CSV or a JSON Lines file."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dspex_ray.errors import ConfigurationError
from dspex_ray.evaluation_report.writing import require_place, write_text

if TYPE_CHECKING:
    from dspex_ray.evaluation.result import Evaluation

ROW_ENDINGS = (".csv", ".jsonl")
_NESTED = ("input", "expected", "output", "measures")


def example_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one dict a row, in their order; `input` and `expected` are None where the examples are not known."""
    examples: list[Any] = list(evaluation.examples) or [None] * len(evaluation.scores)
    return [
        {
            "row": one.row,
            "id": one.example_id,
            "input": None if example is None else example.input,
            "expected": None if example is None else example.output,
            "output": one.output,
            "score": one.score,
            "feedback": one.feedback,
            "error": one.error,
            "cost_usd": one.cost_usd,
            "metric_cost_usd": one.metric_cost_usd,
            "latency_s": one.latency_s,
            "calls": one.calls,
            "measures": dict(one.measures),
        }
        for one, example in zip(evaluation.scores, examples, strict=True)
    ]


def flat_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the rows with each field in a key of its own, such as `input.message`; every row has all keys."""
    rows = [_flat(row) for row in example_rows(evaluation)]
    keys = sorted(dict.fromkeys(key for row in rows for key in row), key=_place)
    return [{key: row.get(key) for key in keys} for row in rows]


def data_frame(evaluation: Evaluation) -> Any:
    """Return the flat rows as a pandas DataFrame. Raises ConfigurationError without pandas."""
    try:
        pandas = importlib.import_module("pandas")  # no dependency of ours, and slow to load
    except ImportError as error:
        raise ConfigurationError("to_dataframe() needs pandas: pip install pandas.") from error
    return pandas.DataFrame(flat_rows(evaluation))


def write_rows(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write a .csv file with a column for each field, or a .jsonl file with the fields within. Raises UsageError."""
    place = require_place(path, ROW_ENDINGS)
    if place.suffix.lower() == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in example_rows(evaluation))
        write_text(place, "".join(f"{line}\n" for line in lines))
        return
    rows, text = flat_rows(evaluation), io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    write_text(place, text.getvalue())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key in _NESTED:
            flat |= {f"{key}.{name}": one for name, one in (value or {}).items()}
        else:
            flat[key] = value
    return flat


def _place(key: str) -> int:
    """Return where the column stands; columns of one kind stay in the order they came (sorting is stable)."""
    order = ("row", "id", "input", "expected", "output", "score", "feedback", "error")
    head = key.partition(".")[0]
    return order.index(head) if head in order else len(order) + (head == "measures")


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value
