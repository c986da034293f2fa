"""`Module`: which implementation of an interface is used, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

from dspex_coordination.conditions import Condition, V, as_condition
from dspex_coordination.errors import SpaceError, VariableError, near_matches
from dspex_coordination.variables.importable import Importable
from dspex_coordination.variables.links import ConditionLike, Links
from dspex_coordination.variables.one_of import OneOf


class Module(OneOf[str]):
    """One of several implementations; the value is its name, `resolve` gives the class or function.

    | argument     | meaning                                                                                     |
    |--------------|---------------------------------------------------------------------------------------------|
    | `options`    | implementations by name, each a class, a function or an import path `module:attribute`       |
    | `interface`  | a Protocol or a list of method names that each must have; checked here for those given as    |
    |              | objects, and whenever one is resolved                                                       |
    | `compatible` | for some options what must hold to use them, such as `{"fast": {"model": ["a", "b"]}}`       |
    | `default`    | a name; the first option if not given                                                       |
    | `weights`    | how often each option is drawn, in their order                                              |

    JSON holds names and import paths, never code; only paths of `options` are ever imported.
    """

    kind: ClassVar[str] = "module"

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        interface: type | Sequence[str] = (),
        compatible: Mapping[str, ConditionLike] | None = None,
        default: str | None = None,
        weights: Sequence[float] | None = None,
        **links: Unpack[Links],
    ) -> None:
        super().__init__(**links)
        given: Any = options
        if not isinstance(given, Mapping) or not given or not all(isinstance(name, str) for name in given):
            raise VariableError(f"Module: options must map names to implementations, got {options!r}.")
        self.implementations = {
            name: Importable.of(given, f"Module: options[{name!r}]") for name, given in options.items()
        }
        self.interface = _method_names(interface)
        self._take_options(tuple(options), weights)
        self._check_interface()
        self.compatible = self._checked_matrix({} if compatible is None else compatible)
        self.default = self._settled_default(default)

    def _check_interface(self) -> None:
        given = {name: one.target for name, one in self.implementations.items() if one.target is not None}
        problems = [text for name, target in given.items() if (text := self._lacking(name, target))]
        if problems:
            raise VariableError(f"{self.label}: " + " ".join(problems))

    def _lacking(self, name: str, target: Any) -> str | None:
        missing = [method for method in self.interface if not _has(target, method)]
        called = getattr(target, "__qualname__", repr(target))
        asked = f"the interface asks for {', '.join(self.interface)}"
        return f"{called} ({name!r}) has no method {', '.join(missing)}; {asked}." if missing else None

    def _checked_matrix(self, given: Any) -> dict[str, Condition]:
        if not isinstance(given, Mapping):
            raise VariableError(f"Module: compatible must map options to conditions, got {given!r}.")
        found: dict[str, Condition] = {}
        for name, condition in given.items():
            if name not in self.options:
                raise VariableError(f"Module: compatible names no option: {name!r}. {near_matches(name, self.options)}")
            try:
                found[name] = as_condition(condition)
            except SpaceError as error:
                raise VariableError(f"Module: compatible[{name!r}]: {error}") from error
        return found

    def _referring(self, rename: Callable[[str], str]) -> dict[str, Any]:
        compatible = {option: condition.renamed(rename) for option, condition in self.compatible.items()}
        return {**super()._referring(rename), "compatible": compatible}

    def resolve(self, value: str) -> Any:
        """Return the implementation of that name, imported if need be.

        Raises VariableError for a name that is no option, a path without such an object, or a missing method.
        """
        name = self.validate(value)
        target = self.implementations[name].resolved(f"{self.label}: {name!r}")
        lacking = self._lacking(name, target)
        if lacking:
            raise VariableError(f"{self.label}: {lacking}")
        return target

    def rules(self) -> tuple[tuple[Condition, str], ...]:
        """Forbid each option of `compatible` where its condition does not hold."""
        return tuple(
            ((V(self.label) == name) & ~condition, f"{self.label} {name!r} is compatible only with {condition}.")
            for name, condition in self.compatible.items()
        )

    def fields(self) -> dict[str, Any]:
        """Return options as import paths and default, and interface, compatible and weights where they are set.

        Raises VariableError for an implementation without an import path.
        """
        paths = {name: one.to_json(f"{self.label}: {name!r}") for name, one in self.implementations.items()}
        compatible = {name: condition.to_json() for name, condition in self.compatible.items()}
        extra = {"interface": list(self.interface), "compatible": compatible, "weights": list(self.weights or ())}
        return {"options": paths, "default": self.default} | {key: value for key, value in extra.items() if value}

    def __repr__(self) -> str:
        return f"Module({self.implementations!r}, default={self.default!r})"


def _method_names(interface: Any) -> tuple[str, ...]:
    if isinstance(interface, type):
        bases = [base for base in reversed(interface.__mro__) if base is not object and base.__module__ != "typing"]
        names = [name for base in bases for name, held in vars(base).items() if callable(held) or _is_property(held)]
        return tuple(dict.fromkeys(name for name in names if not name.startswith("_") or name == "__call__"))
    if isinstance(interface, str) or not isinstance(interface, Sequence):
        raise VariableError(f"Module: interface must be a Protocol or a list of method names, got {interface!r}.")
    for name in interface:
        if not isinstance(name, str) or not name.isidentifier():
            raise VariableError(f"Module: interface lists method names, got {name!r}.")
    return tuple(interface)


def _has(target: Any, method: str) -> bool:
    held = getattr(target, method, None)
    return callable(held) or _is_property(held)


def _is_property(held: Any) -> bool:
    return hasattr(type(held), "__get__") and hasattr(type(held), "__set__")
