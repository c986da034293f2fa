"""The contract of a variable: one tunable value with a domain, a default and a JSON form.

A variable is immutable. Its attributes are written once, by its constructor; its name is given once, by the class
that declares it (`__set_name__`) or by `named`. Used as a class attribute it is a descriptor: on the class it is
itself, on an instance it is `instance.values[name]`.

| method        | called by                         | must                                                        |
|---------------|-----------------------------------|-------------------------------------------------------------|
| `validate`    | spaces, constructors (`default`)  | return the value in its JSON form or raise VariableError     |
| `scale`       | optimizers                        | say what kind of axis the values lie on (see `Scale`)        |
| `sample`      | optimizers                        | draw from `rng` alone and return a valid value               |
| `unit`, `at`  | optimizers, space-filling designs | map values to [0, 1] and back, evenly in terms of draws      |
| `mutate`      | optimizers                        | return a near valid value, another one wherever there is one |
| `grid`        | optimizers, exhaustive fallback   | give at most n distinct values; all if n >= cardinality      |
| `fields`      | `to_json`                         | be the keyword arguments that rebuild it                     |
| `cardinality` | optimizers                        | count the values that are drawn, None if infinite or unknown |
| `rules`       | spaces                            | give the conditions that must not hold, each with a message  |

`at` of an even draw from [0, 1] is distributed as `sample`. `at(unit(value)) == value` for every value of an ordinal
or nominal variable that is drawn (up to 2**40 values), and but for rounding for a real one.

A variable of the scale "computed" has two more attributes: `dependencies`, the names of the variables it is computed
from, and `compute(values)`, which returns its valid value from theirs; `default` is what it holds while inactive.

A constructor takes the arguments of `Links` beside its own and passes them to `Variable.__init__`.
"""

from __future__ import annotations

import copy
import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Literal, Never, Self, TypeVar, Unpack, overload

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import Condition
from dspex_coordination.errors import UnboundVariableError, VariableError, near_matches
from dspex_coordination.variables.links import Links, linked

T = TypeVar("T")

Scale = Literal["real", "ordinal", "nominal", "structured", "computed"]
"""A continuous axis, ordered steps, unordered options, sets (no axis), or computed from others (nobody sets it)."""

KINDS: dict[str, type[Variable[Any]]] = {}


class Variable(ABC, Generic[T]):
    """One tunable value. A subclass sets `kind`, registers itself by it, and implements the table above."""

    kind: ClassVar[str] = ""
    name: str | None = None
    default: T
    when: Condition | None = None
    requires: tuple[Condition, ...] = ()
    conflicts: tuple[Condition, ...] = ()

    def __init__(self, **links: Unpack[Links]) -> None:
        unknown = sorted(set(links) - Links.__annotations__.keys())
        if unknown:
            raise TypeError(f"{type(self).__name__} got an unexpected argument {unknown[0]!r}")
        when = linked(links.get("when"), self.label, "when")
        if len(when) > 1:
            raise VariableError(f"{self.label}: when: give one condition; join several with &.")
        if when:
            self.when = when[0]
        for argument in ("requires", "conflicts"):
            conditions = linked(links.get(argument), self.label, argument)
            if conditions:
                setattr(self, argument, conditions)

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

    @property
    @abstractmethod
    def scale(self) -> Scale:
        """What kind of axis the values lie on."""

    def unit(self, value: T) -> float:
        """Return where `value` lies among all draws, in [0, 1]. Raises VariableError without such an axis."""
        raise self._no_axis(value)

    def at(self, u: float) -> T:
        """Return the value at `u` in [0, 1] of all draws. Raises VariableError without such an axis."""
        raise self._no_axis(u)

    @abstractmethod
    def mutate(self, value: T, rng: random.Random, strength: float) -> T:
        """Return a valid value near `value`; another one wherever there is one.

        `strength` in (0, 1] is the typical step as a part of the axis. Raises VariableError for another strength.
        """

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

    def rules(self) -> tuple[tuple[Condition, str], ...]:
        """Return the combinations with other variables that this one forbids, each with what a message says of it."""
        return ()

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

    def under(self, prefix: str) -> Self:
        """Return this variable for a space where its name, and every name it refers to, has `prefix` before it."""
        twin = self.named(f"{prefix}{self.label}")
        vars(twin).update(self._referring(lambda name: f"{prefix}{name}"))
        return twin

    def _referring(self, rename: Callable[[str], str]) -> dict[str, Any]:
        """Return the attributes that refer to other variables, with those renamed."""
        lists = {"requires": self.requires, "conflicts": self.conflicts}
        moved: dict[str, Any] = {key: tuple(one.renamed(rename) for one in held) for key, held in lists.items() if held}
        return moved if self.when is None else {**moved, "when": self.when.renamed(rename)}

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with `kind`, `name` and the constructor's arguments; of the links those that are set."""
        return {"kind": self.kind, "name": self.name, **self.fields(), **self._links()}

    def _links(self) -> dict[str, Any]:
        when = {} if self.when is None else {"when": self.when.to_json()}
        lists = {"requires": self.requires, "conflicts": self.conflicts}
        return when | {key: [one.to_json() for one in held] for key, held in lists.items() if held}

    @staticmethod
    def from_json(data: Any) -> Variable[Any]:
        """Rebuild a variable from `to_json`. Raises VariableError for an unknown kind or field."""
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise VariableError(f"A variable's JSON is an object with a 'kind', got {data!r}.")
        kind = data["kind"]
        if kind not in KINDS:
            raise VariableError(f"Unknown variable kind {kind!r}. {near_matches(kind, KINDS)}")
        arguments = {key: value for key, value in data.items() if key not in ("kind", "name")}
        known = {*inspect.signature(KINDS[kind]).parameters, *Links.__annotations__}
        unknown = sorted(set(arguments) - known)
        if unknown:
            raise VariableError(f"JSON of a {kind!r} variable does not fit its constructor: unknown {unknown}.")
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
        links = {"when": self.when, "requires": self.requires, "conflicts": self.conflicts}
        shown = self.fields() | {key: value for key, value in links.items() if value not in (None, ())}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in shown.items())})"

    def _no_axis(self, value: Any) -> VariableError:
        instead = "use sample and mutate" if self.scale == "structured" else "nobody sets it"
        return VariableError(
            f"{self.label}: a {self.scale} variable has no axis from 0 to 1 to place {value!r} on; {instead}."
        )

    def _checked_default(self, default: Any) -> T:
        try:
            return self.validate(default)
        except VariableError as error:
            raise VariableError(f"{type(self).__name__}: default is outside the domain: {error}") from error

    def _reject(self, value: Any, right: str) -> VariableError:
        return VariableError(f"{self.label}: {value!r} is not allowed; give {right}.")
