"""CSV and its like, with the delimiter the header shows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

from dspex_ray.data_files.encoding import opened
from dspex_ray.data_files.table import Origin, Row, Stream
from dspex_ray.errors import DataError
from dspex_ray.problems import one_of

DELIMITERS = (",", ";", "\t", "|")
_TRIED_LINES = 50


def read_separated(path: Path, encoding: str | None, delimiter: str | None) -> Iterator[Stream]:
    """Read a file with a header. Without `delimiter` it is the comma, unless only another one divides the header."""
    with opened(path, encoding, newline="") as file:
        first = list(islice(file, _TRIED_LINES))
        sign = delimiter or _sniffed(path, first)
        reader = csv.reader(chain(first, file), delimiter=sign, strict=True)
        header, start = _header(path, reader)
        yield Stream(tuple(header), _rows(path, reader, header, start))


def checked_delimiter(delimiter: str | None) -> str | None:
    """Return the delimiter. Raises DataError for what cannot be one."""
    named = "\t" if delimiter in ("tab", "\\t") else delimiter
    if named is not None and (len(named) != 1 or named in '"\r\n'):
        raise DataError(f"A delimiter is one character, such as ';' (or 'tab'), got {delimiter!r}.")
    return named


def _sniffed(path: Path, first: list[str]) -> str:
    """Return the one delimiter that divides the header, and the rows below it alike; the comma goes first."""
    widths = {sign: found for sign in DELIMITERS if (found := _widths(first, sign)) and found[0] > 1}
    if "," in widths or not widths:
        return ","
    even = [sign for sign, found in widths.items() if len(set(found)) == 1] or list(widths)
    if len(even) > 1:
        raise DataError(f"{path}: the header may be divided by {one_of(even)}; name the delimiter.")
    return even[0]


def _widths(first: list[str], sign: str) -> list[int]:
    found: list[int] = []
    with suppress(csv.Error):  # the lines may end within a quoted cell
        found.extend(len(cells) for cells in csv.reader(iter(first), delimiter=sign) if cells)
    return found


def _header(path: Path, reader: Any) -> tuple[list[str], int]:
    start = 1
    try:
        for cells in reader:
            if cells:
                return _checked_header(path, cells), reader.line_num + 1
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {start}: malformed CSV: {error}.") from error
    return [], start


def _rows(path: Path, reader: Any, header: list[str], start: int) -> Iterator[Row]:
    origin = Origin(str(path), "line", text_cells=True)
    try:
        for cells in reader:
            if cells:
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {start}: {len(cells)} cells, but the header has {len(header)} columns; quote a "
                        f"cell that holds {reader.dialect.delimiter!r}."
                    )
                yield Row(start, dict(zip(header, cells, strict=True)), origin)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {start}: malformed CSV: {error}.") from error


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise DataError(f"{path}, line 1: the column {repeated[0]!r} occurs twice in the header.")
    return header
