"""`Schema`: typed inputs and outputs, which report every bad field at once and never guess a type."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, dataclass_transform
from weakref import WeakSet

from pydantic import BaseModel, ConfigDict, Field
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError

from dspex_ray.errors import InputError, ProgramError
from dspex_ray.problems import joined, near
from dspex_ray.schema.checking import check, read_defaults
from dspex_ray.schema.field_options import check_constraints, check_options, has_rule, named_options
from dspex_ray.schema.ml_types.secret import secret_fields
from dspex_ray.schema.steps import RUNNER, declares_validations, validations, validations_runner
from dspex_ray.schema.tunable import tunable_fields

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
    from pydantic._internal._namespace_utils import MappingNamespace
else:
    ModelMetaclass = type(BaseModel)  # the same class, without pydantic's private module at run time


# `field` is no field_specifier: type checkers read a specifier's default only by keyword, and `field(0.7)` is meant
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class SchemaMeta(ModelMetaclass):
    """Builds schema classes and turns pydantic's complaints about a declaration into ProgramError."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> Any:
        """Create the class. Raises ProgramError that names the schema and the field that is wrong."""
        _check_body(name, namespace)
        if declares_validations(namespace):
            namespace[RUNNER] = validations_runner()
        try:
            made: Any = super().__new__(cls, name, bases, namespace, **kwargs)
            if not made.__pydantic_complete__:
                scope = _names_in_scope(inspect.currentframe())
                made.model_rebuild(raise_errors=False, _types_namespace=scope)
            elif made.model_fields:
                _finish(made)
        except (PydanticUserError, SchemaError) as error:
            raise ProgramError(f"Schema {name}: {_declaration_fault(error)}") from error
        return made


_OWN_NAMES = frozenset(["parse", *(name for name in dir(BaseModel) if name.startswith("model_"))])


def _check_body(name: str, namespace: dict[str, Any]) -> None:
    annotations = namespace.get("__annotations__", {})
    if taken := _OWN_NAMES.intersection(annotations):
        raise ProgramError(
            f"Schema {name}: a field cannot be called {min(taken)!r}, a method of every schema; rename it."
        )
    for key, value in namespace.items():
        if isinstance(value, FieldInfo):
            if key not in annotations:
                raise ProgramError(f"Schema {name}: field {key!r} has no type; write `{key}: <type> = field(...)`.")
            named_options(f"Schema {name}.{key}", value)


def _finish(made: Any) -> None:
    """Check what pydantic does not, read the defaults of ML types, and keep secrets out of pydantic's own errors."""
    if made in _FINISHED:
        return
    for name, info in made.model_fields.items():
        check_options(info)
        check_constraints(f"Schema {made.__qualname__}.{name}", info)
    for method, at in validations(made):
        if at and at not in made.model_fields:
            close = near(at, made.model_fields)
            raise ProgramError(f"Schema {made.__qualname__}: {method!r} tells its faults at {at!r}, no field{close}.")
    tunable_fields(made)
    secret = secret_fields(made)
    changed = bool(secret) and not made.model_config.get("hide_input_in_errors")
    if changed:
        made.model_config["hide_input_in_errors"] = True
    ruled = {name for name, info in made.model_fields.items() if name in secret or has_rule(info)}
    for name, default in read_defaults(made, ruled).items():
        if default is not made.model_fields[name].default:
            made.model_fields[name].default, changed = default, True
    _FINISHED.add(made)
    if changed:
        made.model_rebuild(force=True)


_FINISHED: WeakSet[Any] = WeakSet()


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


def _declaration_fault(error: PydanticUserError | SchemaError) -> str:
    text = str(error).splitlines()[0]
    if isinstance(error, PydanticUserError) and error.code == "model-field-missing-annotation":
        quoted = text.split("`")[1] if "`" in text else "a field"
        name = quoted.split(" = ", maxsplit=1)[0]
        return f"field {name!r} has no type; write `{name}: <type> = ...`."
    if isinstance(error, PydanticUserError) and "incorrect fields" in text:
        method = text.partition(" (")[0].rpartition(".")[2]
        return f"{method!r} is for a field that the schema does not have."
    return text if isinstance(error, PydanticUserError) else str(error).splitlines()[-1].strip()


class Schema(BaseModel, metaclass=SchemaMeta):
    """A typed record: unknown fields are refused, values are frozen, NaN and infinity are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def model_rebuild(
        cls,
        *,
        force: bool = False,
        raise_errors: bool = True,
        _parent_namespace_depth: int = 2,
        _types_namespace: MappingNamespace | None = None,
    ) -> bool | None:
        """Complete a class whose types were not all defined above it; pydantic calls it at the first use.

        Raises ProgramError for a field that turns out to be wrong.
        """
        done = super().model_rebuild(
            force=force,
            raise_errors=raise_errors,
            _parent_namespace_depth=_parent_namespace_depth + 1,
            _types_namespace=_types_namespace,
        )
        if done:
            _finish(cls)
        return done

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


def _names(cls: type[Schema]) -> str:
    return ", ".join(repr(name) for name in cls.model_fields) or "no fields"
