"""`load_data`: a file, a list or a data frame as the examples of a program; `Dataset` splits them without leaks."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_ray.columns import ABSENT, FieldColumn, match_columns, with_defaults
from dspex_ray.data_files import Row, Table, read_table, table_of
from dspex_ray.errors import DataError
from dspex_ray.example import Example, make_example, value_text
from dspex_ray.problems import shown
from dspex_ray.program import Program
from dspex_ray.schema import Faults, Schema, check, literal_fields

_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Dataset:
    """Examples of one program, in the order of the source. Raises DataError without any."""

    examples: tuple[Example, ...]
    source: str

    def __post_init__(self) -> None:
        if not self.examples:
            raise DataError(f"{self.source} holds no rows.")

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all rows, in their order."""
        return hashlib.sha256("\n".join(example.id for example in self.examples).encode()).hexdigest()

    def split(self, seed: int, validation: float = 0.2, max_validation: int = 1000) -> tuple[Dataset, Dataset]:
        """Return (train, validation), the same for the same rows and seed, both in the source's order.

        `validation` is the share held out, at most `max_validation` rows, spread over the labels as they occur. Rows
        with the same input stay on one side, so that no answer leaks. Raises DataError if both sides cannot be filled.
        """
        if not 0 < validation < 1:
            raise DataError(f"validation must be a share between 0 and 1, got {validation!r}.")
        if max_validation < 1:
            raise DataError(f"max_validation must be at least 1, got {max_validation!r}.")
        groups: dict[str, list[int]] = {}
        for position, example in enumerate(self.examples):
            groups.setdefault(canonical_json(example.input), []).append(position)
        if len(groups) < 2:  # noqa: PLR2004 - one for each side
            raise DataError(
                f"{self.source} holds {len(groups)} different input(s); a split needs at least 2. Add rows, or give "
                f"rows of their own to choose by (--validation)."
            )
        target = min(max(1, round(len(self) * validation)), max_validation)
        held = self._held_groups(list(groups.values()), target, random.Random(seed))  # noqa: S311 - no secret
        return self._side(held, "train"), self._side(held, "validation")

    def _held_groups(self, groups: list[list[int]], target: int, rng: random.Random) -> set[int]:
        strata: dict[str, list[list[int]]] = {}
        for group in groups:
            strata.setdefault(self.examples[group[0]].label or "", []).append(group)
        quotas = _quotas({label: len(members) for label, members in strata.items()}, target)
        held: set[int] = set()
        for label in sorted(strata):
            members = strata[label]
            rng.shuffle(members)
            for group in members[: quotas[label]]:
                if not held or len(held) + len(group) <= target:
                    held.update(group)
        return held

    def _side(self, held: set[int], name: str) -> Dataset:
        wanted = name == "validation"
        chosen = tuple(example for i, example in enumerate(self.examples) if (i in held) == wanted)
        return Dataset(chosen, f"{self.source} ({name})")


def _quotas(sizes: Mapping[str, int], target: int) -> dict[str, int]:
    """Share `target` over strata by size with largest remainders, leaving one of each for training where possible."""
    total = sum(sizes.values())
    target = min(target, total - 1)
    room = {label: max(size - 1, 0) for label, size in sizes.items()}
    if sum(room.values()) < target:
        room = dict(sizes)  # labels that occur once: hold some of them out whole
    exact = {label: target * size / total for label, size in sizes.items()}
    quotas = {label: min(int(exact[label]), room[label]) for label in sizes}
    order = sorted(sizes, key=lambda label: (int(exact[label]) - exact[label], label))
    left = target - sum(quotas.values())
    while left > 0:
        for label in order:
            if left > 0 and quotas[label] < room[label]:
                quotas[label] += 1
                left -= 1
    return quotas


def load_data(source: Any, program_class: type[Program], *, mapping: Mapping[str, str] | None = None) -> Dataset:
    """Return the data as examples of the program, each row split into its input and output fields by name.

    `source` is a path (.csv, .tsv, .jsonl, .json, .parquet), a list of dicts, a data frame (anything with
    `to_dict(orient="records")`) or a Dataset. `mapping` names the column of a field where it is called otherwise; for
    a field it does not name, the program's own `columns` hold where the data has them. Fields with defaults may be
    absent; other columns are ignored. Raises DataError that names file, row and column.
    """
    if isinstance(source, Dataset):
        return source
    table = _table(source)
    if not table.rows:
        raise DataError(f"{table.source} holds no rows; at least one labelled row is needed.")
    schemas = (program_class.Input, program_class.Output)
    inputs, outputs = match_columns(table, schemas, with_defaults(mapping or {}, program_class.columns, table))
    return Dataset(tuple(_examples(table, schemas, (inputs, outputs))), table.source)


def _table(source: Any) -> Table:
    if isinstance(source, str | os.PathLike):
        return read_table(Path(source))
    if hasattr(source, "to_dict"):
        return table_of(source.to_dict(orient="records"), "the data frame")
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        return table_of(source, "the list")
    raise DataError(f"Data is a path, a list of dicts or a data frame, got {shown(source)}.")


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
            place = f"{self.table.source}, {self.table.unit} {row.number}, column {column!r}"
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
        sides = [_side(table, row, schema, used, problems) for schema, used in zip(schemas, columns, strict=True)]
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


def _side(
    table: Table, row: Row, schema: type[Schema], columns: list[FieldColumn], problems: _Problems
) -> dict[str, Any]:
    cells = {column.field: column.read(row.cells, text_cells=table.text_cells) for column in columns}
    given = {name: cell for name, cell in cells.items() if cell is not ABSENT}
    checked = check(schema, given, explain=problems.explain)
    if isinstance(checked, Faults):
        problems.add(row, columns, checked)
        return {}
    return checked.model_dump(mode="json", include=set(given))


def _label(output: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = {name: output[name] for name in names if name in output}
    if not found:
        return None
    return value_text(next(iter(found.values()))) if len(found) == 1 else canonical_json(found)
