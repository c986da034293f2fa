"""`Table`: rows, their columns, and where each row stands; `Take`: how many rows are kept in memory."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dspex_ray.errors import DataError
from dspex_ray.problems import shown


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from; `text_cells` says that every cell is text whatever it means (CSV)."""

    source: str
    unit: str = "row"
    text_cells: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `number` counts from 1 in the origin's unit; a CSV file's header is line 1."""

    number: int
    cells: Mapping[str, Any]
    origin: Origin

    @property
    def place(self) -> str:
        """Where the row stands: `data.csv, line 3`."""
        return f"{self.origin.source}, {self.origin.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows one after the other, and the columns known before the first one is read (a CSV file's header)."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows kept, and the names of their columns. `text_cells` says that all cells are text."""

    source: str
    columns: tuple[str, ...]
    rows: list[Row]
    text_cells: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """Which rows to keep: the first `limit`, or a `sample` of all, drawn by `seed`, in the order of the source.

    Only the rows kept are in memory. Raises DataError for both at once, and for less than one row.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and self.sample is not None:
            raise DataError("Give a limit (the first rows) or a sample (rows of all), not both.")
        for name, value in (("limit", self.limit), ("sample", self.sample)):
            if value is not None and value < 1:
                raise DataError(f"{name} must be at least 1, got {value}.")

    def of(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows to keep."""
        if self.sample is None:
            return list(itertools.islice(rows, self.limit))
        return _sampled(rows, self.sample, random.Random(self.seed))  # noqa: S311 - no secret


def _sampled(rows: Iterable[Row], size: int, rng: random.Random) -> list[Row]:
    """Return a uniform sample in one pass (J. Vitter, algorithm R, 1985)."""
    kept: list[tuple[int, Row]] = []
    for position, row in enumerate(rows):
        if position < size:
            kept.append((position, row))
        elif (slot := rng.randrange(position + 1)) < size:
            kept[slot] = (position, row)
    return [row for _, row in sorted(kept, key=lambda one: one[0])]


def collected(streams: Iterable[Stream], source: str, take: Take) -> Table:
    """Return the table of the rows of all streams. The columns are the headers', then those of the rows kept."""
    columns: dict[str, None] = {}

    def every() -> Iterator[Row]:
        for stream in streams:
            columns.update(dict.fromkeys(stream.columns))
            yield from stream.rows

    rows = take.of(every())
    for row in rows:
        columns.update(dict.fromkeys(map(str, row.cells)))
    return Table(source, tuple(columns), rows, bool(rows) and all(row.origin.text_cells for row in rows))


def table_of(rows: Iterable[Any], source: str, take: Take | None = None) -> Table:
    """Return a table of mappings. Raises DataError naming a row that is none."""
    return collected([Stream((), mappings(rows, Origin(source)))], source, take or Take())


def mappings(rows: Iterable[Any], origin: Origin) -> Iterator[Row]:
    """Return mappings as rows. Raises DataError naming one that is none."""
    for number, cells in enumerate(rows, start=1):
        if not isinstance(cells, Mapping):
            raise DataError(f"{origin.source}, row {number}: expected an object with named fields, got {shown(cells)}.")
        yield Row(number, cells, origin)
