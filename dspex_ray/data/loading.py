"""`load_data`: files, a list, a frame or an iterator as the examples of a program."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_ray.columns import ABSENT, FieldColumn, match_columns, with_defaults
from dspex_ray.data.dataset import Dataset
from dspex_ray.data_files import Row, Table, Take, read_files, read_object
from dspex_ray.errors import DataError
from dspex_ray.example import Example, make_example, value_text
from dspex_ray.problems import near, one_of
from dspex_ray.programs.program import Program
from dspex_ray.prompting.labelled import labelled_output
from dspex_ray.schema import Faults, Schema, check, literal_fields, plain_secrets, secret_fields

_SHOWN_PROBLEMS = 5
_NO_SECRETS = "a secret given outright, which data may not hold; name an environment variable instead, as env:NAME"


def load_data(  # all that may be said of data, in one place
    source: Any,
    program_class: type[Program],
    *,
    mapping: Mapping[str, str] | None = None,
    take: Take | None = None,
    group_by: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
) -> Dataset:
    """Return the data as examples of the program, each row split into its input and output fields by name.

    `source` is a path (.csv, .tsv, .jsonl, .json, .parquet), a pattern such as `data/*.jsonl`, a list of either, a list
    of dicts, an iterator of them, a data frame (pandas, polars, pyarrow), a Hugging Face data set or a Dataset.
    `mapping` names the column of a field where it is called otherwise; for a field it does not name, the program's own
    `columns` hold where the data has them. Fields with defaults, and `unlabelled` ones, may be absent; other columns
    are ignored. `take` keeps the first rows or a sample, only these in memory. `group_by` names a column whose equal
    values must stay on one side of a split. `encoding` (by default the byte order mark's, else UTF-8) and `delimiter`
    (by default the header's) are those of text files. Raises DataError that names file, row and column.
    """
    if isinstance(source, Dataset):
        return source
    take = take or Take()
    if isinstance(source, str | os.PathLike):
        table = read_files([Path(source)], take, encoding=encoding, delimiter=delimiter)
    elif isinstance(source, list | tuple) and source and all(isinstance(one, str | os.PathLike) for one in source):
        table = read_files([Path(one) for one in source], take, encoding=encoding, delimiter=delimiter)
    else:
        table = read_object(source, take)
    if not table.rows:
        raise DataError(f"{table.source} holds no rows; at least one labelled row is needed.")
    schemas = (program_class.Input, labelled_output(program_class))
    inputs, outputs = match_columns(table, schemas, with_defaults(mapping or {}, program_class.columns, table))
    groups = None if group_by is None else _groups(table, group_by)
    return Dataset(tuple(_examples(table, schemas, (inputs, outputs))), table.source, groups)


def _groups(table: Table, column: str) -> tuple[str, ...]:
    if column not in table.columns:
        raise DataError(
            f"{table.source} has no column {column!r} to group by{near(column, table.columns)}; its columns are "
            f"{one_of(table.columns)}."
        )
    return tuple(str(row.cells.get(column)) for row in table.rows)


class _Problems:
    """Counts what is wrong and words the first few."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.count = 0
        self.rows = 0
        self.lines: list[str] = []

    def add(self, row: Row, columns: Sequence[FieldColumn], faults: Faults) -> None:
        by_field = {column.field: column.column for column in columns}
        self.count += len(faults)
        for path, message in faults[: max(0, _SHOWN_PROBLEMS - len(self.lines))]:
            field = path.partition(".")[0].partition("[")[0]
            column = by_field.get(field, field)
            place = f"{row.place}, column {column!r}"
            self.lines.append(f"{place}{'' if path == column else f' (field {path})'}: {message}")

    @property
    def explain(self) -> bool:
        return len(self.lines) < _SHOWN_PROBLEMS

    def raise_if_any(self) -> None:
        if self.count:
            values, rows = ("value" if self.count == 1 else "values"), ("row" if self.rows == 1 else "rows")
            more = f"\n  ... and {self.count - len(self.lines)} more" if self.count > len(self.lines) else ""
            listed = "".join(f"\n  {line}" for line in self.lines)
            raise DataError(f"{self.count} bad {values} in {self.rows} {rows} of {self.table.source}:{listed}{more}")


def _examples(
    table: Table, schemas: tuple[type[Schema], type[Schema]], columns: tuple[list[FieldColumn], list[FieldColumn]]
) -> list[Example]:
    problems, copies = _Problems(table), Counter[str]()
    labels = literal_fields(schemas[1])
    made: list[Example] = []
    for row in table.rows:
        before = problems.count
        sides = [_side(row, schema, used, problems) for schema, used in zip(schemas, columns, strict=True)]
        if problems.count > before:
            problems.rows += 1
            continue
        example = make_example(sides[0], sides[1], _label(sides[1], labels))
        copies[example.id] += 1
        if copies[example.id] > 1:
            numbered = f"{example.id}-{copies[example.id]}"
            example = Example(numbered, example.input, example.output, example.label)
        made.append(example)
    problems.raise_if_any()
    return made


def _side(row: Row, schema: type[Schema], columns: list[FieldColumn], problems: _Problems) -> dict[str, Any]:
    cells = {column.field: column.read(row.cells, text_cells=row.origin.text_cells) for column in columns}
    given = {name: cell for name, cell in cells.items() if cell is not ABSENT}
    checked = check(schema, given, explain=problems.explain)
    if not isinstance(checked, Faults) and secret_fields(schema) and (found := plain_secrets(checked)):
        checked = Faults([(path, _NO_SECRETS) for path in found])
    if isinstance(checked, Faults):
        problems.add(row, columns, checked)
        return {}
    return checked.model_dump(mode="json", include=set(given))


def _label(output: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = {name: output[name] for name in names if name in output}
    if not found:
        return None
    return value_text(next(iter(found.values()))) if len(found) == 1 else canonical_json(found)
