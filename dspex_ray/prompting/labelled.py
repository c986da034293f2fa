"""The part of an output that data is labelled with: a program's `unlabelled` fields may be missing from its data."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dspex_ray.errors import ProgramError
from dspex_ray.problems import near, one_of
from dspex_ray.schema import Schema
from dspex_ray.schema.runtime_schema import class_of

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program


def labelled_output(program_class: type[Program]) -> type[Schema]:
    """Return the schema that the outputs in a program's data keep.

    It is `Output` itself where `unlabelled` names no field, else a subclass in which those may be absent. Raises
    ProgramError for a name that is no field of `Output`.
    """
    names: Any = getattr(program_class, "unlabelled", frozenset())
    if isinstance(names, str) or not isinstance(names, AbstractSet):
        raise ProgramError(f"{program_class.__name__}.unlabelled is a frozenset of field names, got {names!r}.")
    output = program_class.Output
    for name in sorted(map(str, names)):
        if name not in output.model_fields:
            close = near(name, output.model_fields)
            raise ProgramError(
                f"{program_class.__name__}.unlabelled: {name!r} is no field of Output{close}; the fields are "
                f"{one_of(list(output.model_fields))}."
            )
    key: Any = output
    return _relaxed(key, frozenset(names)) if names else output


@lru_cache(maxsize=256)
def _relaxed(output: Any, names: frozenset[str]) -> Any:
    fields: dict[str, tuple[Any, Any]] = {}
    for name in sorted(names):
        annotation: Any = output.model_fields[name].rebuild_annotation()
        fields[name] = (annotation | None, None)
    return class_of(output.__name__, fields, output.__doc__, (output,))
