"""Lines of costs, or single calls, written to a file whose ending says how."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dspex_ray.errors import ConfigurationError, UsageError

ENDINGS: Final = (".csv", ".jsonl", ".parquet")
_BATCH: Final = 10_000
_FRACTIONS: Final = frozenset({"at", "cost_usd", "latency_s", "reserved_usd"})
_WHOLE: Final = frozenset({"calls", "failed", "cached", "unknown", "unpriced", "attempts", "trial", "row"})


def require_ending(path: Path) -> None:
    """Raise UsageError for a file that cannot be written for its name."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, which says how to write it.")


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write the rows and return their number. Raises UsageError when the file cannot be written."""
    require_ending(path)
    kind = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()]
    try:
        return kind(path, columns, rows)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error}.") from error


def _csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    written = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for row in rows:
            table.writerow(row)
            written += 1
    return written


def _jsonl(path: Path, _columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(dict(row)) + "\n")
            written += 1
    return written


def _parquet(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    try:
        # an optional dependency without types that takes long to load
        pa, pq = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'dspex-ray[parquet]'.") from error
    written = 0
    schema = pa.schema([(name, _type(pa, name)) for name in columns])
    with pq.ParquetWriter(path, schema) as file:
        for batch in _batches(rows):
            file.write_table(pa.Table.from_pylist([dict(row) for row in batch], schema=schema))
            written += len(batch)
    return written


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    rest = iter(rows)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _type(pa: Any, name: str) -> Any:
    if name in _FRACTIONS:
        return pa.float64()
    return pa.int64() if name in _WHOLE or name.endswith("tokens") else pa.string()
