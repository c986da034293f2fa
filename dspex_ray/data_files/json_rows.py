"""JSON Lines, read line by line, and JSON, read whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from dspex_ray.data_files.encoding import opened
from dspex_ray.data_files.table import Origin, Row, Stream, mappings
from dspex_ray.errors import DataError
from dspex_ray.problems import shown


def read_json_lines(path: Path, encoding: str | None, _delimiter: str | None) -> Iterator[Stream]:
    """Read one object a line; empty lines are passed over."""
    # lines end at \n only: JSON text may hold U+2028 and its like unescaped
    with opened(path, encoding, newline="\n") as file:
        yield Stream((), _lines(path, file))


def _lines(path: Path, file: TextIO) -> Iterator[Row]:
    origin = Origin(str(path), "line")
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: malformed JSON: {error}.") from error
        if not isinstance(cells, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, got {shown(cells)}.")
        yield Row(number, cells, origin)


def read_json(path: Path, encoding: str | None, _delimiter: str | None) -> Iterator[Stream]:
    """Read a list of objects."""
    with opened(path, encoding, newline="") as file:
        text = file.read()
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: malformed JSON: {error}.") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a JSON list of objects, got {shown(rows)}.")
    yield Stream((), mappings(rows, Origin(str(path))))
