"""From what a user typed to a program instance: class, version, model, mapped columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from dspex_ray.errors import UsageError
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_ref import load_instance, program_from_state
from dspex_ray.schema import Schema
from dspex_ray.store import Store


def path_and_version(text: str) -> tuple[str, str | None]:
    """Return a program's path and the version behind its `@`, None without one. Raises UsageError for a bare `@`."""
    path, at, version = text.rpartition("@")
    if not at or ":" not in path or "->" in text:
        return text, None
    if not version:
        raise UsageError(
            f"{text!r} names no version behind its @: give a number, a label or a hash, or leave the @ out."
        )
    return path, version


def instance(path: str, version: str | None, lm: str | None, store: Store) -> tuple[Program, str]:
    """Return the program (tuned as `version`, untuned without one) and the name of its version.

    The path may name the version itself, as in `shop:Route@production`. Raises UsageError if both name one.
    """
    path, named = path_and_version(path)
    if named is not None and version is not None:
        raise UsageError(f"{path}@{named} and --version {version} both name a version; give one.")
    version = named if version is None else version
    program, label = load_instance(path), "untuned"
    if version is not None:
        kept = store.version(program.path, version)
        program, label = program_from_state(kept.state), str(kept.number)
    return (program.with_lm(lm) if lm else program), label


def mapping_of(pairs: Sequence[str] | None) -> dict[str, str] | None:
    """Return `--map field=column` options as a mapping. Raises UsageError for another form."""
    if not pairs:
        return None
    wrong = [pair for pair in pairs if "=" not in pair or not all(part.strip() for part in pair.split("=", 1))]
    if wrong:
        raise UsageError(f"--map takes field=column, got {wrong[0]!r}.")
    split = [(field.strip(), column.strip()) for field, column in (pair.split("=", 1) for pair in pairs)]
    fields = [field for field, _ in split]
    twice = next((field for field in fields if fields.count(field) > 1), None)
    if twice is not None:
        raise UsageError(f"--map names the field {twice!r} twice; a field has one column.")
    return dict(split)


def fields_of(pairs: Sequence[str], schema: type[Schema]) -> dict[str, Any]:
    """Return `field=value` arguments as input values; a value of a field that is no text is read as JSON.

    Raises UsageError for another form, a field given twice and no field at all where one is needed; the schema itself
    says what is wrong with a value.
    """
    needed = [name for name, info in schema.model_fields.items() if info.is_required()]
    if not pairs and needed:
        slots = " ".join(_slot(name, info) for name, info in schema.model_fields.items())
        raise UsageError(f"Give the input field by field, as field=value: {slots}")
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            example = next(iter(schema.model_fields))
            raise UsageError(f"Inputs are given as field=value, such as {example}=..., got {pair!r}.")
        if name.strip() in values:
            raise UsageError(f"The field {name.strip()!r} is given twice.")
        field = schema.model_fields.get(name.strip())
        values[name.strip()] = text if field is None or field.annotation is str else _json_or_text(text)
    return values


def _slot(name: str, info: FieldInfo) -> str:
    if info.is_required():
        return f"{name}=<{_kind(info.annotation)}>"
    return f"[{name}={json.dumps(info.get_default(call_default_factory=True), default=str)}]"


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    return {str: "text"}.get(annotation, getattr(annotation, "__name__", "JSON"))


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
