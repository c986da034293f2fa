"""Parquet files, read in batches."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dspex_ray.data_files.table import Origin, Stream, mappings
from dspex_ray.errors import ConfigurationError, DataError

_BATCH_ROWS = 4096


def read_parquet(path: Path, _encoding: str | None, _delimiter: str | None) -> Iterator[Stream]:
    """Read a file. Raises ConfigurationError without pyarrow."""
    try:
        # an optional dependency without types that takes long to load
        pa, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(f"Reading {path} needs pyarrow: pip install 'dspex-ray[parquet]'.") from error
    try:
        with parquet.ParquetFile(path) as file:
            yield Stream(tuple(file.schema_arrow.names), mappings(_cells(file), Origin(str(path))))
    except pa.ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {error}.") from error


def _cells(file: Any) -> Iterator[Any]:
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        yield from batch.to_pylist()
