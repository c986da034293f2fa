"""`json_schema`: the JSON Schema of a schema, in the dialect of whoever is to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dspex_ray.errors import ProgramError, UnknownNameError
from dspex_ray.problems import Problem, joined
from dspex_ray.schema.dialects.anthropic import Anthropic
from dspex_ray.schema.dialects.base import Dialect
from dspex_ray.schema.dialects.generic import Generic
from dspex_ray.schema.dialects.groq import Groq
from dspex_ray.schema.dialects.openai import OpenAI
from dspex_ray.schema.dialects.openapi import OpenAPI
from dspex_ray.schema.json_tree import Node, flattened
from dspex_ray.schema.schema import Schema

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OpenAI(), Anthropic(), Groq(), Generic(), OpenAPI())
}

Mode = Literal["validation", "serialization"]


def json_schema(
    schema: type[Schema],
    dialect: str = "generic",
    *,
    mode: Mode = "validation",
    flat: bool = False,
    examples: Sequence[Mapping[str, Any]] = (),
) -> Node:
    """Return the JSON Schema as `openai`, `anthropic`, `groq`, `generic` or `openapi` (3.1) takes it.

    `mode` says whether it describes what is given or what is written; `flat` replaces references by what they refer
    to; `examples` are values of the schema. Raises UnknownNameError for another dialect, InputError for an example
    that breaks the schema, and ProgramError with everything that the dialect cannot say.
    """
    made = _converted(schema, dialect, mode=mode, flat=flat, examples=examples)
    if problems := DIALECTS[dialect].problems(made):
        raise ProgramError(f"Schema {schema.__name__} does not fit the dialect {dialect!r}: {joined(problems)}.")
    return made


def dialect_problems(schema: type[Schema], dialect: str, *, mode: Mode = "validation") -> tuple[Problem, ...]:
    """Return what `dialect` cannot say of the schema, as (path, message). Raises UnknownNameError."""
    made = _converted(schema, dialect, mode=mode)
    return tuple(DIALECTS[dialect].problems(made))


def _converted(
    schema: type[Schema], dialect: str, *, mode: Mode, flat: bool = False, examples: Sequence[Mapping[str, Any]] = ()
) -> Node:
    if dialect not in DIALECTS:
        raise UnknownNameError("JSON Schema dialect", dialect, DIALECTS)
    made: Node = schema.model_json_schema(mode=mode)
    if examples:
        shown = [schema.parse(example).model_dump(mode="json", exclude_unset=True) for example in examples]
        made = {**made, "examples": shown}
    return DIALECTS[dialect].convert(flattened(made) if flat else made)
