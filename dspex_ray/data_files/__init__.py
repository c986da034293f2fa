"""CSV, TSV, JSON Lines, JSON and Parquet files, frames and iterators as rows that know where they stand."""

from __future__ import annotations

from dspex_ray.data_files.files import READERS, read_files
from dspex_ray.data_files.objects import read_object
from dspex_ray.data_files.table import Origin, Row, Stream, Table, Take, table_of

__all__ = ["READERS", "Origin", "Row", "Stream", "Table", "Take", "read_files", "read_object", "table_of"]
