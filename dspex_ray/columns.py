"""Which column fills which field of a program's schemas, and how a cell becomes a field's value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_ray.data_files import Table
from dspex_ray.errors import DataError
from dspex_ray.problems import near, one_of
from dspex_ray.schema import Schema, literal_options
from dspex_ray.schema.json_tree import flattened, rooted

ABSENT = object()


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """One field and the column it is read from."""

    field: str
    column: str
    required: bool
    nullable: bool
    textual: bool

    def read(self, cells: Mapping[str, Any], *, text_cells: bool) -> Any:
        """Return the field's value in a row, or ABSENT. An empty cell counts as absent where there is a default."""
        cell = cells.get(self.column, ABSENT)
        if cell is ABSENT:
            return ABSENT
        if text_cells:
            return self._from_text(cell)
        if hasattr(cell, "tolist") and hasattr(cell, "dtype"):
            cell = cell.tolist()  # a numpy scalar or array of a data frame
        if cell is None or (isinstance(cell, float) and cell != cell):  # noqa: PLR0124 - NaN is a frame's empty cell
            return None if self.nullable or self.required else ABSENT
        return cell

    def _from_text(self, cell: str) -> Any:
        if cell == "":
            if not self.required:
                return ABSENT
            return None if self.nullable else cell
        if self.textual:
            return cell
        try:
            return json.loads(cell)
        except ValueError:
            return cell  # validation says what is wrong with it


def with_defaults(mapping: Mapping[str, str], defaults: Mapping[str, str], table: Table) -> dict[str, str]:
    """Return the mapping, filled up with a program's own `columns`.

    A default holds for a field that the mapping does not name, where the data has the default's column and none of the
    field's own name.
    """
    usual = {f: c for f, c in defaults.items() if f not in table.columns and c in table.columns}
    return {**usual, **mapping}


def match_columns(table: Table, schemas: Sequence[type[Schema]], mapping: Mapping[str, str]) -> list[list[FieldColumn]]:
    """Return, for each schema, the columns its fields are read from; optional fields without a column are left out.

    Raises DataError for a mapping to or from nothing and for a required field without a column.
    """
    fields = {name: schema for schema in reversed(schemas) for name in schema.model_fields}
    for name, column in mapping.items():
        if name not in fields:
            raise DataError(f"--map {name}={column}: the program has no field {name!r}{near(name, fields)}.")
        if column not in table.columns:
            close = near(column, table.columns)
            raise DataError(
                f"--map {name}={column}: {table.source} has no column {column!r}{close}; "
                f"its columns are {one_of(table.columns)}."
            )
    missing = [
        (schema, name)
        for schema in schemas
        for name, info in schema.model_fields.items()
        if info.is_required() and mapping.get(name, name) not in table.columns
    ]
    if missing:
        raise DataError(_missing(table, missing, _used(fields, mapping)))
    return [_matched(table, schema, mapping) for schema in schemas]


def _matched(table: Table, schema: type[Schema], mapping: Mapping[str, str]) -> list[FieldColumn]:
    nodes = flattened(rooted(schema.model_json_schema(by_alias=False)))["properties"]
    return [
        FieldColumn(name, column, info.is_required(), _nullable(nodes[name]), _textual(nodes[name]))
        for name, info in schema.model_fields.items()
        if (column := mapping.get(name, name)) in table.columns
    ]


def _used(fields: Mapping[str, Any], mapping: Mapping[str, str]) -> set[str]:
    return {mapping.get(name, name) for name in fields}


def _nullable(node: Mapping[str, Any]) -> bool:
    return node.get("type") == "null" or any(_nullable(one) for one in node.get("anyOf", ()))


def _textual(node: Mapping[str, Any]) -> bool:
    """Whether text is a value of the field as it stands; an unknown type is given the text too."""
    if "anyOf" in node:
        return any(_textual(one) for one in node["anyOf"] if one.get("type") != "null")
    if "enum" in node or "const" in node:
        return all(isinstance(option, str) for option in node.get("enum", [node.get("const")]))
    return bool(node.get("type", "string") == "string")


def _missing(table: Table, missing: Sequence[tuple[type[Schema], str]], used: set[str]) -> str:
    names = [name for _, name in missing]
    free = [column for column in table.columns if column not in used]
    guesses: dict[str, str] = {}
    fits = ""
    labels = [(schema, name) for schema, name in missing if literal_options(schema, name)]
    if len(labels) == 1:
        schema, name = labels[0]
        fitting = [column for column in free if _fits(table, column, literal_options(schema, name) or ())]
        if fitting:
            guesses[name] = fitting[0]
            fits = f" The values of {fitting[0]!r} fit {name!r}."
    rest = [column for column in free if column not in guesses.values()]
    for name in names:
        close = [column for column in rest if column.casefold() == name.casefold()]
        if name not in guesses and (close or (len(rest) == 1 and len(names) - len(guesses) == 1)):
            guesses[name] = (close or rest)[0]
    options = " ".join(f"--map {name}={guesses.get(name, '<column>')}" for name in names)
    python = "{" + ", ".join(f"{name!r}: {guesses.get(name, '<column>')!r}" for name in names) + "}"
    fields = "field" if len(names) == 1 else "fields"
    return (
        f"{table.source} has no column for the {fields} {one_of(names)}; its columns are {one_of(table.columns)}.{fits}"
        f"{_other_delimiter(table)} Say which column it is: {options} (in Python: mapping={python})."
    )


def _fits(table: Table, column: str, options: Sequence[Any]) -> bool:
    cells = {row.cells.get(column) for row in table.rows if isinstance(row.cells.get(column), str | int | bool)}
    found = cells - {""}
    return bool(found) and found <= {*options, *map(str, options)}


def _other_delimiter(table: Table) -> str:
    only = table.columns[0] if len(table.columns) == 1 and table.text_cells else ""
    found = next((sign for sign in ",;\t|:" if sign in only), None)
    return f" It looks divided by {found!r}: name that delimiter." if found else ""
