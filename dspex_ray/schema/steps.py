"""`transform` and `validation`: what happens to a value after its type was checked.

1. Each field's type and constraints are checked. 2. A field that passes goes through its transforms, in the order of
the class. 3. When every field is through, the validations run.

All faults of 1 and 2 are told at once, and all faults of 3. A transform is pure: a value may pass through it again.
Its result is not checked again. pydantic's `field_validator` and `model_validator` work too; of several model
validators only the first failing one is told.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from dspex_ray.errors import ProgramError
from dspex_ray.problems import unprefixed
from dspex_ray.schema.ml_types.base import Fault, faults

F = TypeVar("F", bound=Callable[..., Any])

AS_GIVEN = object()
"""The validation context that leaves transforms and validations out, to compare a value with what was given."""

RUNNER = "_dspex_validations"
_MARK = "__dspex_validation__"


def transform(*names: str) -> Callable[[Any], Any]:
    """Change the named fields after their own checks: decorates a static method `(value) -> value`, or a class method.

    What it raises as ValueError is a fault of the field.
    """
    if not names or not all(isinstance(name, str) for name in names):
        raise ProgramError('Write @transform("field", ...) above a @staticmethod that takes and returns the value.')

    def decorate(method: Any) -> Any:
        def apply(cls: type, value: Any, info: ValidationInfo) -> Any:
            change = method.__get__(None, cls) if hasattr(method, "__get__") else method
            return value if info.context is AS_GIVEN else change(value)

        return field_validator(*names, mode="after")(classmethod(apply))

    return decorate


@overload
def validation(method: F) -> F: ...
@overload
def validation(*, at: str) -> Callable[[F], F]: ...
def validation(method: Any = None, *, at: str = "") -> Any:
    """Check the whole value after all transforms: decorates a method that raises ValueError with what is wrong.

    `at` is the field that the fault is told of, by default none. Every validation runs, also after one that failed.
    """

    def decorate(check: Any) -> Any:
        setattr(check, _MARK, at)
        return check

    return decorate if method is None else decorate(method)


def validations(cls: type) -> tuple[tuple[str, str], ...]:
    """Return the names of a class's validations and the fields they are told of: those of its bases first."""
    if (found := _VALIDATIONS.get(cls)) is None:
        members = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}
        found = tuple((name, getattr(value, _MARK)) for name, value in members.items() if _is_validation(value))
        _VALIDATIONS[cls] = found
    return found


_VALIDATIONS: WeakKeyDictionary[type, tuple[tuple[str, str], ...]] = WeakKeyDictionary()


def _is_validation(value: Any) -> bool:
    return inspect.isfunction(value) and hasattr(value, _MARK)


def own_methods(cls: type) -> list[str]:
    """Return the names of the transforms, validations and other functions in a class's own body."""
    steps = getattr(cls, "__pydantic_decorators__", None)
    decorated = {*steps.field_validators, *steps.model_validators} if steps else set[str]()
    functions = [name for name, value in vars(cls).items() if callable(value) or isinstance(value, classmethod)]
    return [n for n in vars(cls) if n != RUNNER and not n.startswith("__") and (n in decorated or n in functions)]


def declares_validations(namespace: dict[str, Any]) -> bool:
    """Whether a class body holds a validation."""
    return any(_is_validation(value) for value in namespace.values())


def validations_runner() -> Any:
    """Return the pydantic validator that runs them all."""

    def run(self: Any, info: ValidationInfo) -> Any:
        if info.context is AS_GIVEN:
            return self
        found: list[Fault] = []
        for name, at in validations(type(self)):
            path = (at,) if at else ()
            try:
                answer = getattr(self, name)()
            except ValidationError:
                raise
            except (ValueError, AssertionError) as error:
                found.append(Fault(path, unprefixed(str(error)) or f"{name} failed"))
            else:
                if answer is not None:
                    where = f"{type(self).__qualname__}.{name}"
                    raise ProgramError(f"{where}: a validation raises ValueError or returns nothing, got {answer!r}.")
        if found:
            raise faults(found)
        return self

    return model_validator(mode="after")(run)
