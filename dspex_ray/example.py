"""`Example`: one row of data, the input a program is given and the output it should give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_ray.errors import DataError

_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled row. `input` and `output` are JSON and must not be changed; `label` is the text of its class.

    `id` is the start of the SHA-256 of the canonical JSON of both, so equal rows of any file have equal ids; a
    further copy of a row within one data set gets `-2`, `-3`, ... behind it.
    """

    id: str
    input: dict[str, Any]
    output: dict[str, Any]
    label: str | None = None

    @property
    def content_id(self) -> str:
        """The id without the number of the copy: equal for equal rows."""
        return self.id.partition("-")[0]

    def to_json(self) -> dict[str, Any]:
        """Return the example as JSON."""
        return {"id": self.id, "input": self.input, "output": self.output, "label": self.label}

    @staticmethod
    def from_json(data: Any) -> Example:
        """Rebuild an example from `to_json`. Raises DataError for what is no such JSON."""
        try:
            return Example(str(data["id"]), dict(data["input"]), dict(data["output"]), data.get("label"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"An example's JSON has 'id', 'input' and 'output', got {data!r}.") from error


def make_example(values: Mapping[str, Any], output: Mapping[str, Any], label: str | None = None) -> Example:
    """Return an example with the id of its content. Raises TypeError or ValueError for what JSON cannot hold."""
    text = canonical_json({"input": dict(values), "output": dict(output)})
    return Example(hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS], dict(values), dict(output), label)


def value_text(value: Any) -> str:
    """Return text as it is and any other JSON value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_text(values: Mapping[str, Any]) -> str:
    """Return what a model reads of an input: the value alone if there is one, else `name: value` lines.

    Further lines of a value are indented, so that a value cannot pass for another field.
    """
    if len(values) == 1:
        return value_text(next(iter(values.values())))
    return "\n".join(f"{name}: {value_text(value)}".replace("\n", "\n  ") for name, value in values.items())
