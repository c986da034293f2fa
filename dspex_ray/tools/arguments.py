"""The arguments of a function as a schema, made from its annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_type_hints

from dspex_ray.errors import ProgramError
from dspex_ray.schema import Schema, make_schema


class NoArguments(Schema):
    """The arguments of a tool that takes none."""


def arguments_schema(name: str, function: Callable[..., Any], texts: Mapping[str, str]) -> type[Schema]:
    """Return the schema of what a function takes, its fields in the order of the parameters.

    `texts` are the descriptions of the arguments. Raises ProgramError that says what to write, for every parameter
    without a type, for `*args` and `**kwargs`, and for a default that breaks its type.
    """
    parameters, hints = _parameters(name, function)
    wrong = [told for parameter in parameters.values() if (told := _fault(parameter, hints))]
    if wrong:
        raise ProgramError(f"Tool {name}: {'; '.join(wrong)}.")
    if not parameters:
        return NoArguments
    fields: dict[str, Any] = {}
    for key, parameter in parameters.items():
        options: dict[str, Any] = {} if key not in texts else {"description": texts[key]}
        if parameter.default is not inspect.Parameter.empty:
            options["default"] = parameter.default
        fields[key] = (hints[key], options)
    try:
        return make_schema(_class_name(name), fields)
    except ProgramError as error:
        raise ProgramError(f"Tool {name}: {error}") from error


def _parameters(name: str, function: Callable[..., Any]) -> tuple[Mapping[str, inspect.Parameter], dict[str, Any]]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ProgramError(
            f"Tool {name} has no signature to read ({error}); write a function with typed arguments around it."
        ) from error
    try:
        return parameters, get_type_hints(annotated_part(function), include_extras=True)
    except NameError as error:
        raise ProgramError(
            f"Tool {name}: the type {error.name!r} is not defined at the top of its module; define or import it there."
        ) from error


def annotated_part(function: Any) -> Any:
    """Return what holds the annotations: the function within a partial or a decorator, or an object's `__call__`."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    return function if inspect.isroutine(function) else type(function).__call__


def _fault(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> str | None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        return f"{stars}{parameter.name} cannot be told to a model; write each argument with its type"
    if parameter.name not in hints:
        return f"argument {parameter.name!r} has no type; write `{parameter.name}: str`, or whatever type it is of"
    return None


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("-", "_").split("_")) + "Arguments"
