"""What a program class declares, read and checked once: schemas, columns, variables, constraints, sub-programs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic.errors import PydanticUndefinedAnnotation

from dspex_coordination.errors import SpaceError
from dspex_coordination.space import Constraint, Space
from dspex_coordination.space.constraint import as_constraint
from dspex_coordination.variables import Text, Variable
from dspex_ray.errors import ProgramError
from dspex_ray.problems import near, shown
from dspex_ray.programs.sub_programs import Parts, walk
from dspex_ray.schema import Schema, secret_fields, tunable_fields

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program

INPUT = "input."
"""What stands before the name of a tunable input field among the variables."""


def is_abstract(cls: type[Program]) -> bool:
    """Return whether the class is a base to be completed: it has neither schema."""
    return not hasattr(cls, "Input") and not hasattr(cls, "Output")


class DocstringInstruction:
    """The instruction of a program that declares none: its docstring, else a plain sentence.

    It is that of the class or of the nearest base with schemas; what bases without them say is meant for programmers.
    """

    def __get__(self, program: Program | None, owner: type[Program]) -> Any:
        if program is None:
            return self
        for base in owner.__mro__:
            if base.__doc__ and not is_abstract(base):
                return inspect.cleandoc(base.__doc__)
        return f"Given {', '.join(owner.Input.model_fields)}, answer with {', '.join(owner.Output.model_fields)}."


def check_instruction(cls: type[Program]) -> None:
    """Raise ProgramError if `instruction` is declared as anything but a text or a `Text` variable."""
    declared: Any = next((vars(base)["instruction"] for base in cls.__mro__ if "instruction" in vars(base)), "")
    if not isinstance(declared, str | Text | DocstringInstruction | property) or (
        isinstance(declared, str) and not declared.strip()
    ):
        raise ProgramError(f"{cls.__name__}.instruction is a text or a Text variable, got {shown(declared)}.")


def declared_space(cls: type[Program], parts: Parts, reserved: frozenset[str]) -> Space:
    """Return the class's variables, tunable input fields and the variables of its parts under their paths."""
    constraints: Any = cls.constraints
    if isinstance(constraints, str | Mapping) or not isinstance(constraints, Sequence):
        raise ProgramError(f"{cls.__name__}.constraints is a list of conditions, got {shown(constraints)}.")
    variables = _variables(cls, reserved)
    try:
        rules = [as_constraint(one) for one in constraints]
        for path, child in walk(parts):
            variables.update(_under(child.space(), f"{path}."))
            rules += [_moved(cls, path, one) for one in child.space().constraints]
        return Space(variables, rules)
    except SpaceError as error:
        raise ProgramError(f"{cls.__name__}: {error}") from error


def _under(space: Space, prefix: str) -> dict[str, Variable[Any]]:
    return {f"{prefix}{name}": variable.under(prefix) for name, variable in space.variables.items()}


def _moved(cls: type[Program], path: str, constraint: Constraint) -> Constraint:
    try:
        return constraint.under(f"{path}.")
    except SpaceError as error:
        raise ProgramError(f"{cls.__name__}.{path}: {error}") from error


def _variables(cls: type[Program], reserved: frozenset[str]) -> dict[str, Variable[Any]]:
    found: dict[str, Variable[Any]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Variable):
                if name in reserved:
                    raise ProgramError(f"{cls.__name__}: {name!r} is a name that Program itself uses; rename it.")
                found[name] = value
            else:
                found.pop(name, None)  # a subclass that fixes a variable to a plain value takes it out of the search
    return found | {f"{INPUT}{name}": variable for name, variable in tunable_fields(cls.Input).items()}


def check_schemas(cls: type[Program]) -> None:
    """Raise ProgramError for a schema that is missing, empty, refers to unknown types or cannot be asked for."""
    for role, line in (("Input", "message: str"), ("Output", 'label: Literal["a", "b"]')):
        schema = getattr(cls, role, None)
        if schema is None:
            raise ProgramError(f"{cls.__name__} has no {role}; write in it:\n    class {role}(Schema):\n        {line}")
        if not (isinstance(schema, type) and issubclass(schema, Schema)):
            raise ProgramError(
                f"{cls.__name__}.{role} is {shown(schema)}, not a Schema; write `class {role}(Schema): ...` in it."
            )
        try:
            schema.model_rebuild()
        except PydanticUndefinedAnnotation as error:
            raise ProgramError(f"{cls.__name__}.{role}: the type {error.name!r} is not defined above it.") from error
        if not schema.model_fields:
            raise ProgramError(f"{cls.__name__}.{role} has no field; write at least one, such as `{line}`.")
    _check_columns(cls)
    if secret := sorted(secret_fields(cls.Output)):
        raise ProgramError(f"{cls.__name__}.Output.{secret[0]} is a Secret, and no model may be asked for one.")
    if tuned := tunable_fields(cls.Output):
        raise ProgramError(f"{cls.__name__}.Output.{next(iter(tuned))} cannot be tuned; only Input fields can.")


def _check_columns(cls: type[Program]) -> None:
    columns: Any = cls.columns
    if not isinstance(columns, Mapping) or not all(isinstance(column, str) for column in columns.values()):
        raise ProgramError(f"{cls.__name__}.columns is {shown(columns)}; write it as {{'field': 'column'}}.")
    fields = {**cls.Input.model_fields, **cls.Output.model_fields}
    for name in columns:
        if name not in fields:
            raise ProgramError(f"{cls.__name__}.columns: there is no field {name!r}{near(str(name), fields)}.")
