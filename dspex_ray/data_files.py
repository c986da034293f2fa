"""CSV, TSV, JSON Lines, JSON and Parquet files as rows that know where they stand."""

from __future__ import annotations

import csv
import difflib
import importlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dspex_ray.errors import ConfigurationError, DataError
from dspex_ray.problems import one_of, shown


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `number` counts from 1 in the table's unit; a CSV file's header is line 1."""

    number: int
    cells: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows and their column names. `text_cells` says that every cell is text whatever it means (CSV)."""

    source: str
    columns: tuple[str, ...]
    rows: list[Row]
    unit: str = "row"
    text_cells: bool = False


def read_table(path: Path) -> Table:
    """Read a data file by its ending. Raises DataError with the line of what is malformed."""
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path} is no data file known here; the endings are {one_of(sorted(READERS))}.")
    if not path.is_file():
        raise DataError(_absent(path))
    try:
        return READERS[path.suffix.lower()](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def table_of(rows: Iterable[Any], source: str) -> Table:
    """Return a table of mappings. Raises DataError naming a row that is none."""
    made: list[Row] = []
    columns: dict[str, None] = {}
    for number, cells in enumerate(rows, start=1):
        if not isinstance(cells, Mapping):
            raise DataError(f"{source}, row {number}: expected an object with named fields, got {shown(cells)}.")
        made.append(Row(number, cells))
        columns.update(dict.fromkeys(map(str, cells)))
    return Table(source, tuple(columns), made)


def _absent(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; give a data file in it."
    folder = path.parent
    if not folder.is_dir():
        return f"{path} does not exist; neither does the folder {folder}."
    names = [entry.name for entry in folder.iterdir() if entry.suffix.lower() in READERS]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(str(folder / name)) for name in near)}?" if near else ""
    return f"{path} does not exist; {hint or f'data files in {folder}: {one_of(sorted(names)) or None}.'}"


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


def _separated(path: Path, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[Row] = []
    start = 1
    try:
        for cells in reader:
            if cells and not header:
                header = _checked_header(path, cells)
            elif cells:
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {start}: {len(cells)} cells, but the header has {len(header)} columns; quote a "
                        f"cell that holds {delimiter!r}."
                    )
                rows.append(Row(start, dict(zip(header, cells, strict=True))))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {start}: malformed CSV: {error}.") from error
    return Table(str(path), tuple(header), rows, unit="line", text_cells=True)


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise DataError(f"{path}, line 1: the column {repeated[0]!r} occurs twice in the header.")
    return header


def _csv(path: Path) -> Table:
    return _separated(path, ",")


def _tsv(path: Path) -> Table:
    return _separated(path, "\t")


def _json_lines(path: Path) -> Table:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    # not splitlines(): JSON text may hold U+2028 and its like unescaped
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: malformed JSON: {error}.") from error
        if not isinstance(cells, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, got {shown(cells)}.")
        rows.append(Row(number, cells))
        columns.update(dict.fromkeys(cells))
    return Table(str(path), tuple(columns), rows, unit="line")


def _json(path: Path) -> Table:
    try:
        rows = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: malformed JSON: {error}.") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a JSON list of objects, got {shown(rows)}.")
    return table_of(rows, str(path))


def _parquet(path: Path) -> Table:
    try:
        # an optional dependency without types that takes long to load
        pa, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(f"Reading {path} needs pyarrow: pip install 'dspex-ray[parquet]'.") from error
    try:
        return table_of(parquet.read_table(path).to_pylist(), str(path))
    except pa.ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {error}.") from error


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}
