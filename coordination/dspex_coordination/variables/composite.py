"""`Composite`: a value computed from the values of other variables; no search sets it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Never, Unpack

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import ABSENT, Expression, Term
from dspex_coordination.errors import SpaceError, VariableError
from dspex_coordination.variables.base import Scale, Variable
from dspex_coordination.variables.importable import Importable
from dspex_coordination.variables.links import Links


class Composite(Variable[Any]):
    """What `compute` makes of the values of the variables `depends_on`. Its default is None: where it is inactive.

    | argument     | meaning                                                                                        |
    |--------------|------------------------------------------------------------------------------------------------|
    | `compute`    | an expression such as `V("price") * V("calls")`, or a function, or its path `module:function`;  |
    |              | a function gets the values of `depends_on` in that order (an inactive one has its default)     |
    | `depends_on` | names of variables; needed for a function, known for an expression                              |
    | `domain`     | a variable such as `Float(0, 1)`: the value must be one of its values (a derived variable)      |
    | `validate`   | a function, or its path, that gets the value and returns whether it is right                    |

    JSON holds the expression, or the path of the function and never its code.
    """

    kind: ClassVar[str] = "composite"

    def __init__(
        self,
        compute: Expression | Term | Callable[..., Any] | str | Mapping[str, Any],
        *,
        depends_on: Sequence[str] | None = None,
        domain: Variable[Any] | Mapping[str, Any] | None = None,
        validate: Callable[[Any], bool] | str | None = None,
        **links: Unpack[Links],
    ) -> None:
        super().__init__(**links)
        self.source = _computation(compute)
        self.dependencies = self._named(depends_on)
        self.domain = _checked_domain(domain)
        self.check = None if validate is None else Importable.of(validate, "Composite: validate")
        self.default = None

    def _named(self, given: Any) -> tuple[str, ...]:
        known = self.source.names if isinstance(self.source, Expression) else None
        if given is None and known is not None:
            return known
        if isinstance(given, str) or not isinstance(given, Sequence) or any(not isinstance(one, str) for one in given):
            raise VariableError(
                f"Composite: depends_on must list the names of the variables that the function gets, got {given!r}."
            )
        names = tuple(given)
        if len(set(names)) < len(names):
            raise VariableError(f"Composite: depends_on names a variable twice: {list(names)!r}.")
        if known is not None and set(known) != set(names):
            raise VariableError(f"Composite: the expression depends on {list(known)!r}, not on {list(names)!r}.")
        return names

    def _referring(self, rename: Callable[[str], str]) -> dict[str, Any]:
        source = self.source.renamed(rename) if isinstance(self.source, Expression) else self.source
        return {**super()._referring(rename), "source": source, "dependencies": tuple(map(rename, self.dependencies))}

    def compute(self, values: Mapping[str, Any]) -> Any:
        """Return the valid value for the given ones, which have an entry for each of `dependencies`.

        A value that is `ABSENT` is None for a function, and makes an expression None unless it passes over it. Raises
        VariableError if the value cannot be computed or is not valid.
        """
        if isinstance(self.source, Expression):
            try:
                value = self.source.value(values)
            except SpaceError as error:
                raise VariableError(f"{self.label}: {error}") from error
            return None if value is ABSENT else self.validate(value)
        held = [values[name] for name in self.dependencies]
        arguments = [None if value is ABSENT else value for value in held]
        return self.validate(self._called(self.source, "compute", *arguments))

    def _called(self, function: Importable, role: str, *arguments: Any) -> Any:
        target = function.resolved(f"{self.label}: {role}")
        try:
            return target(*arguments)
        except Exception as error:  # the user's function: whatever it raises is its failure, told by name
            shown = ", ".join(repr(argument) for argument in arguments)
            raise VariableError(
                f"{self.label}: {role} {function!r} failed for ({shown}): {type(error).__name__}: {error}"
            ) from error

    def validate(self, value: Any) -> Any:
        """Return `value` if it is JSON, in the domain, and right by the function `validate`."""
        try:
            canonical_json(value)
        except (TypeError, ValueError) as error:
            raise VariableError(f"{self.label}: {value!r} is no JSON value ({error}).") from error
        found = value if self.domain is None else self.domain.named(self.label).validate(value)
        if self.check is not None and not self._called(self.check, "validate", found):
            raise VariableError(f"{self.label}: {found!r} is not allowed; {self.check!r} refuses it.")
        return found

    @property
    def scale(self) -> Scale:
        """Computed."""
        return "computed"

    def sample(self, rng: random.Random) -> Never:  # noqa: ARG002 - refuses
        """Raise VariableError: the value is computed."""
        raise self._computed_only()

    def mutate(self, value: Any, rng: random.Random, strength: float) -> Never:  # noqa: ARG002 - refuses
        """Raise VariableError: the value is computed."""
        raise self._computed_only()

    def grid(self, n: int) -> Never:  # noqa: ARG002 - refuses
        """Raise VariableError: the value is computed."""
        raise self._computed_only()

    def _computed_only(self) -> VariableError:
        return VariableError(
            f"{self.label}: computed from {', '.join(self.dependencies) or 'nothing'}; nobody sets it."
        )

    def fields(self) -> dict[str, Any]:
        """Return compute and depends_on, and domain and validate where they are set.

        Raises VariableError for a function without an import path (a lambda, or one inside another function).
        """
        source = self.source
        written = source.to_json() if isinstance(source, Expression) else source.to_json(f"{self.label}: compute")
        domain = {} if self.domain is None else {"domain": self.domain.to_json()}
        check = {} if self.check is None else {"validate": self.check.to_json(f"{self.label}: validate")}
        return {"compute": written, "depends_on": list(self.dependencies), **domain, **check}

    def __repr__(self) -> str:
        return f"Composite({self.source!r}, depends_on={list(self.dependencies)!r}, domain={self.domain!r})"

    @property
    def cardinality(self) -> int:
        """One: the other variables decide it, so it makes no more candidates."""
        return 1


def _computation(given: Any) -> Expression | Importable:
    if given is None:
        raise VariableError(
            "Composite: compute is missing; give an expression such as V('price') * V('calls'), or a function."
        )
    built = getattr(given, "expression", given)
    if isinstance(built, Mapping):
        try:
            built = Expression.from_json(built)
        except SpaceError as error:
            raise VariableError(f"Composite: compute: {error}") from error
    return built if isinstance(built, Expression) else Importable.of(built, "Composite: compute")


def _checked_domain(given: Any) -> Variable[Any] | None:
    domain = Variable.from_json(given) if isinstance(given, Mapping) else given
    if domain is None:
        return None
    if not isinstance(domain, Variable) or domain.scale in ("computed", "structured"):
        raise VariableError(f"Composite: domain must be a variable such as Float(0, 1), got {given!r}.")
    if domain.when is not None or domain.requires or domain.conflicts:
        raise VariableError("Composite: domain has conditions of its own; give them to the composite.")
    return domain
