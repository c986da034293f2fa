from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dspex_ray.data import load_data
from dspex_ray.errors import DataError
from dspex_ray.programs.program import Program
from dspex_ray.schema import Embedding, Schema, TokenList, field


class Place(Schema):
    city: str


class Find(Program):
    """Find it."""

    class Input(Schema):
        vector: Embedding = field(dim=2)
        place: Place | None = None

    class Output(Schema):
        tokens: TokenList


def test_ml_types_and_objects_are_read_from_json_in_cells(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('vector,place,tokens\n"[1, 2.5]","{""city"": ""Oslo""}","[""a"", 3]"\n"[0, 1]",,"[]"\n')
    first, second = load_data(path, Find).examples
    assert first.input == {"vector": [1.0, 2.5], "place": {"city": "Oslo"}}
    assert first.output == {"tokens": ["a", 3]}
    assert second.input == {"vector": [0.0, 1.0]}


def test_arrays_of_a_data_frame_are_read() -> None:
    (example,) = load_data([{"vector": np.array([1, 2]), "tokens": np.array([3, 4])}], Find).examples
    assert (example.input, example.output) == ({"vector": [1.0, 2.0]}, {"tokens": [3, 4]})


def test_a_bad_vector_is_told_with_row_and_column() -> None:
    with pytest.raises(DataError, match=r"column 'vector': expected 2 numbers, got 3"):
        load_data([{"vector": [1, 2, 3], "tokens": []}], Find)
