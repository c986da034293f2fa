"""Typed inputs and outputs: pydantic models that report every bad field at once and never guess a type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FrameType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    overload,
)
from typing import get_origin as type_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dspex_coordination.errors import VariableError
from dspex_coordination.variables import Bool, Choice, Float, Int, Variable
from dspex_ray.errors import InputError, ProgramError
from dspex_ray.problems import Problem, describe, faithful, joined

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # the same class, without pydantic's private module at run time

T = TypeVar("T")
S = TypeVar("S", bound="Schema")

Probability = Annotated[float, Field(ge=0, le=1)]


class Faults(list[Problem]):
    """The problems of one value, as (path, message)."""


class Tunable:
    """Marks a schema field whose default an optimizer may choose."""


TUNABLE = Tunable()


@overload
def field(default: T, *, variable: bool = False, description: str | None = None, **constraints: Any) -> T: ...
@overload
def field(*, variable: bool = False, description: str | None = None, **constraints: Any) -> Any: ...
def field(
    default: Any = PydanticUndefined, *, variable: bool = False, description: str | None = None, **constraints: Any
) -> Any:
    """Declare a schema field; `constraints` are those of `pydantic.Field` (`ge`, `le`, `max_length`, ...).

    With `variable=True` the default is tunable: a float or int between `ge` and `le`, a Literal or a bool. The class
    that uses it raises ProgramError, naming the field, for any other type or a missing bound or default.
    """
    info = Field(default, description=description, **constraints)
    if variable:
        info.metadata.append(TUNABLE)
    return info


# `field` is no field_specifier: type checkers read a specifier's default only by keyword, and `field(0.7)` is meant
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class SchemaMeta(ModelMetaclass):
    """Builds schema classes and turns pydantic's complaints about a declaration into ProgramError."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> Any:
        """Create the class. Raises ProgramError that names the schema and the field that is wrong."""
        annotations = namespace.get("__annotations__", {})
        if "parse" in annotations:
            raise ProgramError(f"Schema {name}: a field cannot be called 'parse', a method of every schema; rename it.")
        for key, value in namespace.items():
            if isinstance(value, FieldInfo) and key not in annotations:
                raise ProgramError(f"Schema {name}: field {key!r} has no type; write `{key}: <type> = field(...)`.")
        try:
            made: Any = super().__new__(cls, name, bases, namespace, **kwargs)
            if not made.__pydantic_complete__:
                made.model_rebuild(raise_errors=False, _types_namespace=_names_in_scope(inspect.currentframe()))
        except PydanticUserError as error:
            raise ProgramError(f"Schema {name}: {_declaration_fault(error)}") from error
        if made.__pydantic_complete__ and made.model_fields:
            tunable_fields(made)
        return made


def _names_in_scope(frame: FrameType | None) -> dict[str, Any]:
    """Return the names a class statement sees: of the class bodies around it, and of the function around those.

    pydantic looks only into the frame that calls its metaclass, which here is `SchemaMeta.__new__`.
    """
    scopes: list[dict[str, Any]] = []
    frame = frame.f_back if frame else None
    while frame is not None:
        scopes.append(frame.f_locals)
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED or frame.f_locals is frame.f_globals:
            break  # a function or the module: what called it is out of scope
        frame = frame.f_back
    return {name: value for scope in reversed(scopes) for name, value in scope.items()}


def _declaration_fault(error: PydanticUserError) -> str:
    text = error.message.splitlines()[0]
    if error.code == "model-field-missing-annotation":
        quoted = text.split("`")[1] if "`" in text else "a field"
        name = quoted.split(" = ", maxsplit=1)[0]
        return f"field {name!r} has no type; write `{name}: <type> = ...`."
    return text


class Schema(BaseModel, metaclass=SchemaMeta):
    """A typed record: unknown fields are refused, values are frozen, NaN and infinity are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return an instance of `values`. Raises InputError with every bad field and its path.

        Text becomes a number only if it spells exactly that number; true is no number and 1 is not true.
        """
        if not isinstance(values, Mapping):
            got = type(values).__name__
            raise InputError(
                f"Expected an object with {_names(cls)}, got {got}.", (("", f"expected an object, got {got}"),)
            )
        made = check(cls, values)
        if isinstance(made, cls):
            return made
        raise InputError(f"{joined(made)}.", tuple(made))


def check(schema: type[S], values: Mapping[str, Any], *, explain: bool = True) -> S | Faults:
    """Return the instance, or what is wrong with `values`; without `explain` the faults carry no words (faster)."""
    try:
        return schema.model_validate(values, strict=True)
    except ValidationError:
        pass  # not a failure yet: text from a file or a model may still spell the value exactly
    try:
        made = schema.model_validate(values)
    except ValidationError as error:
        if not explain:
            return Faults([("", "")] * error.error_count())
        options = {name: literal_options(schema, name) or () for name in schema.model_fields}
        return Faults(describe(error, list(schema.model_fields), options))
    dumped = made.model_dump(mode="json", include=set(values))
    problems = faithful(dict(values), dumped)
    return Faults(problems) if problems else made


def _names(cls: type[Schema]) -> str:
    return ", ".join(repr(name) for name in cls.model_fields) or "no fields"


def tunable_fields(schema: type[Schema]) -> dict[str, Variable[Any]]:
    """Return the variables of the schema's fields declared with `field(variable=True)`, by field name.

    Raises ProgramError that names a field that cannot be tuned.
    """
    return {
        name: _variable(f"{schema.__qualname__}.{name}", info).named(name)
        for name, info in schema.model_fields.items()
        if TUNABLE in info.metadata
    }


def _variable(where: str, info: FieldInfo) -> Variable[Any]:
    make = _MAKERS.get(info.annotation) if isinstance(info.annotation, type) else None
    if type_origin(info.annotation) is Literal:
        make = _choice
    if make is None:
        raise ProgramError(
            f"{where}: variable=True works for float, int, bool and Literal fields, not for {info.annotation!r}."
        )
    if info.default is PydanticUndefined:
        raise ProgramError(f"{where}: a tunable field needs a default: field(<default>, variable=True, ...).")
    try:
        return make(where, info)
    except VariableError as error:
        raise ProgramError(f"{where}: {error}") from error


def _bounds(where: str, info: FieldInfo) -> tuple[Any, Any]:
    low = next((m.ge for m in info.metadata if getattr(m, "ge", None) is not None), None)
    high = next((m.le for m in info.metadata if getattr(m, "le", None) is not None), None)
    if low is None or high is None:
        raise ProgramError(f"{where}: a tunable number needs both bounds: field(..., ge=<low>, le=<high>).")
    return low, high


def _float(where: str, info: FieldInfo) -> Variable[Any]:
    low, high = _bounds(where, info)
    return Float(low, high, default=info.default)


def _int(where: str, info: FieldInfo) -> Variable[Any]:
    low, high = _bounds(where, info)
    return Int(low, high, default=info.default)


def _bool(_where: str, info: FieldInfo) -> Variable[Any]:
    return Bool(default=info.default)


def _choice(_where: str, info: FieldInfo) -> Variable[Any]:
    return Choice(list(get_args(info.annotation)), default=info.default)


_MAKERS: dict[type, Callable[[str, FieldInfo], Variable[Any]]] = {float: _float, int: _int, bool: _bool}


def literal_options(schema: type[Schema], name: str) -> tuple[Any, ...] | None:
    """Return the values a Literal field allows; None if the field is no Literal."""
    annotation = schema.model_fields[name].annotation
    return get_args(annotation) if type_origin(annotation) is Literal else None


def literal_fields(schema: type[Schema]) -> tuple[str, ...]:
    """Return the names of the schema's Literal fields, in order."""
    return tuple(name for name in schema.model_fields if literal_options(schema, name) is not None)
