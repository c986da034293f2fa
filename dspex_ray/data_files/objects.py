"""Frames, Hugging Face data sets and iterators of dicts, known by what they can do: none of them is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dspex_ray.data_files.table import Table, Take, table_of
from dspex_ray.errors import DataError
from dspex_ray.problems import one_of, shown

_MISSING = ("NAType", "NaTType")  # pandas' own names of an empty cell


def read_object(source: Any, take: Take | None = None) -> Table:
    """Return the rows of an object in memory, or of an iterator, which is read once.

    Known are pandas (`to_dict(orient="records")`), polars (`to_dicts()`), pyarrow (`to_pylist()`), a Hugging Face data
    set (`features` and `column_names`; a ClassLabel's number becomes its name), and any iterable of mappings. Raises
    DataError for anything else, and for a Hugging Face data set of several splits.
    """
    if hasattr(source, "features") and hasattr(source, "column_names"):
        return table_of(_named_labels(source), "the data set", take)
    if hasattr(source, "to_dicts"):
        return table_of(source.to_dicts(), "the data frame", take)
    if hasattr(source, "to_pylist"):
        return table_of(source.to_pylist(), "the table", take)
    if hasattr(source, "to_dict"):
        return table_of(map(_without_missing, source.to_dict(orient="records")), "the data frame", take)
    if isinstance(source, Mapping) and source:
        raise DataError(
            f"The data holds the parts {one_of(list(source))}; give one of them, such as data[{next(iter(source))!r}]."
        )
    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Mapping):
        return table_of(source, "the list" if isinstance(source, list | tuple) else "the iterator", take)
    raise DataError(f"Data is a path, a list of dicts or a data frame, got {shown(source)}.")


def _without_missing(cells: Any) -> Any:
    if not isinstance(cells, Mapping):
        return cells
    return {name: None if type(cell).__name__ in _MISSING else cell for name, cell in cells.items()}


def _named_labels(source: Any) -> Iterator[Any]:
    if isinstance(source.column_names, Mapping):
        parts = list(source.column_names)
        raise DataError(f"The data set holds the splits {one_of(parts)}; give one of them: data[{parts[0]!r}].")
    features = source.features or {}
    names = {column: kind.names for column, kind in features.items() if getattr(kind, "names", None)}
    for cells in source:
        labels = {
            column: options[cells[column]]
            for column, options in names.items()
            if isinstance(cells.get(column), int) and 0 <= cells[column] < len(options)
        }
        yield {**cells, **labels}
