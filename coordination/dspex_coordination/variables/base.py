"""The contract of a variable: one tunable value with a domain, a default and a JSON form.

A variable is immutable. Its attributes are written once, by its constructor; its name is given once, by the class
that declares it (`__set_name__`) or by `named`. Used as a class attribute it is a descriptor: on the class it is
itself, on an instance it is `instance.values[name]`.

| method        | called by                         | must                                                        |
|---------------|-----------------------------------|-------------------------------------------------------------|
| `validate`    | spaces, constructors (`default`)  | return the value in its JSON form or raise VariableError     |
| `sample`      | optimizers                        | draw from `rng` alone and return a valid value               |
| `grid`        | optimizers, exhaustive fallback   | give at most n distinct values; all if n >= cardinality      |
| `fields`      | `to_json`                         | be the keyword arguments that rebuild it                     |
| `cardinality` | optimizers                        | count the distinct values, None if infinite or not known     |
"""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Never, Self, TypeVar, overload

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import UnboundVariableError, VariableError, near_matches

T = TypeVar("T")

KINDS: dict[str, type[Variable[Any]]] = {}


class Variable(ABC, Generic[T]):
    """One tunable value. A subclass sets `kind`, registers itself by it, and implements the table above."""

    kind: ClassVar[str] = ""
    name: str | None = None
    default: T

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the subclass under its `kind`, so that `from_json` finds it."""
        super().__init_subclass__(**kwargs)
        if not cls.kind:
            return
        other = KINDS.setdefault(cls.kind, cls)
        if other is not cls and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise VariableError(f"Two classes claim the variable kind {cls.kind!r}: {other!r} and {cls!r}.")
        KINDS[cls.kind] = cls

    @abstractmethod
    def validate(self, value: Any) -> T:
        """Return `value` in its JSON form. Raises VariableError that names variable, value and what is right."""

    @abstractmethod
    def sample(self, rng: random.Random) -> T:
        """Return a valid value drawn with `rng`."""

    @abstractmethod
    def grid(self, n: int) -> list[T]:
        """Return at most `n` distinct valid values, all of them if `n >= cardinality`."""

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""

    @property
    @abstractmethod
    def cardinality(self) -> int | None:
        """The number of distinct values; None if infinite or not known yet."""

    @property
    def label(self) -> str:
        """How messages call this variable: its name, or its class before it has one."""
        return self.name if self.name is not None else type(self).__name__

    def named(self, name: str) -> Self:
        """Return this variable under `name`; itself if it already has that name."""
        if self.name == name:
            return self
        twin = copy.copy(self)
        vars(twin)["name"] = name  # past the write-once guard: the twin is not shared yet
        return twin

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with `kind`, `name` and the constructor's arguments."""
        return {"kind": self.kind, "name": self.name, **self.fields()}

    @staticmethod
    def from_json(data: Any) -> Variable[Any]:
        """Rebuild a variable from `to_json`. Raises VariableError for an unknown kind or field."""
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise VariableError(f"A variable's JSON is an object with a 'kind', got {data!r}.")
        kind = data["kind"]
        if kind not in KINDS:
            raise VariableError(f"Unknown variable kind {kind!r}. {near_matches(kind, KINDS)}")
        arguments = {key: value for key, value in data.items() if key not in ("kind", "name")}
        try:
            variable = KINDS[kind](**arguments)
        except TypeError as error:
            raise VariableError(f"JSON of a {kind!r} variable does not fit its constructor: {error}.") from error
        name = data.get("name")
        return variable if name is None else variable.named(name)

    def __set_name__(self, owner: type, name: str) -> None:
        if self.name is None:
            self.name = name
        elif self.name != name:
            raise VariableError(
                f"{owner.__name__}.{name} is the same variable object as {self.name!r}; declare a new one for each."
            )

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Self | T:
        if instance is None:
            return self
        values = getattr(instance, "values", None)
        if not isinstance(values, Mapping) or self.name not in values:
            raise UnboundVariableError(
                f"{type(instance).__name__} object holds no value for its variable {self.label!r}: "
                "`values` must be a mapping with one entry for each variable; was the base class's __init__ called?"
            )
        value: T = values[self.name]
        return value

    def __set__(self, instance: object, value: Never) -> None:
        raise UnboundVariableError(
            f"Variable {self.label!r} of {type(instance).__name__} cannot be assigned; "
            "make a new object with other `values` instead."
        )

    def __setattr__(self, attribute: str, value: Any) -> None:
        """Allow each attribute to be written once: variables are shared by every instance of a class."""
        if attribute in self.__dict__:
            raise VariableError(f"{self.label}: a variable is immutable; {attribute!r} cannot be changed.")
        super().__setattr__(attribute, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_json()))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.fields().items())
        return f"{type(self).__name__}({arguments})"

    def _reject(self, value: Any, right: str) -> VariableError:
        return VariableError(f"{self.label}: {value!r} is not allowed; give {right}.")
