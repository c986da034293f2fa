"""Which agents are meant: conditions on registrations, checked when they are written."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from dspex_agents.errors import SpecError
from dspex_agents.supervision.registration import HEALTHS, Health, Registration, is_amount

Operator = Literal["eq", "neq", "gt", "lt", "gte", "lte", "in", "not_in"]

_FIELDS: Final = tuple(field.name for field in fields(Registration))
_ABSENT: Final = object()


def _is_in(value: Any, options: Collection[Any]) -> bool:
    return value in options


def _is_not_in(value: Any, options: Collection[Any]) -> bool:
    return value not in options


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
    "in": _is_in,
    "not_in": _is_not_in,
}


@dataclass(frozen=True, slots=True)
class Criterion:
    """A condition on one value of a registration: a dotted `path` such as `metadata.model` or `load`.

    A value that is not there, or that cannot be compared with the one given, fits `neq` and `not_in` alone. Raises
    SpecError for an unknown operator, a path that leads nowhere, and `in` or `not_in` without a collection.
    """

    path: str
    operator: Operator
    value: Any

    def __post_init__(self) -> None:
        if self.operator not in get_args(Operator):
            options = ", ".join(map(repr, get_args(Operator)))
            raise SpecError(f"criterion on {self.path!r}: operator must be one of {options}, got {self.operator!r}.")
        steps = _text(self.path).split(".")
        if not all(steps):
            raise SpecError(f"criterion: path must be names joined by dots ('metadata.model'), got {self.path!r}.")
        if steps[0] not in _FIELDS:
            raise SpecError(f"criterion: path {self.path!r} must begin with one of {', '.join(_FIELDS)}.")
        if self.operator in ("in", "not_in") and (
            isinstance(self.value, str) or not isinstance(self.value, Collection)
        ):
            text = f"operator {self.operator!r} needs a collection of values, got {self.value!r}"
            raise SpecError(f"criterion on {self.path!r}: {text}.")

    def fits(self, registration: Registration) -> bool:
        """Say whether the registration meets the condition."""
        first, *rest = self.path.split(".")
        value: Any = getattr(registration, first)
        for step in rest:
            value = value.get(step, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is not _ABSENT:
            try:
                return bool(_COMPARE[self.operator](value, self.value))
            except TypeError:  # a text is neither above nor below a number, a list is in no set
                pass
        return self.operator in ("neq", "not_in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which agents are meant: those that have **all** that is given, least loaded first, at most `limit`.

    `health` is the worst that will do: with "degraded", healthy ones fit too. `min_resources` are amounts that a
    registration must offer at least. Raises SpecError naming a bad field.
    """

    capabilities: frozenset[str] = frozenset()
    health: Health | None = None
    node: str | None = None
    partition: str | None = None
    min_resources: Mapping[str, float] = field(default_factory=dict)
    where: tuple[Criterion, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if problems := [*self._problems()]:
            raise SpecError(f"query: {'; '.join(problems)}.")
        object.__setattr__(self, "capabilities", frozenset(self.capabilities))
        object.__setattr__(self, "where", tuple(self.where))

    def fits(self, registration: Registration) -> bool:
        """Say whether the registration has all that is asked for (`limit` aside)."""
        r = registration
        return (
            self.capabilities <= r.capabilities
            and (self.health is None or HEALTHS.index(r.health) <= HEALTHS.index(self.health))
            and (self.node is None or r.node == self.node)
            and (self.partition is None or r.partition == self.partition)
            and all(r.resources.get(name, 0.0) >= least for name, least in self.min_resources.items())
            and all(criterion.fits(r) for criterion in self.where)
        )

    def _problems(self) -> list[str]:
        problems = []
        if not _is_several(self.capabilities, str):
            problems.append(f"capabilities must be a set of texts, got {self.capabilities!r}")
        if self.health is not None and self.health not in HEALTHS:
            problems.append(f"health must be one of {', '.join(map(repr, HEALTHS))}, got {self.health!r}")
        places: dict[str, object] = {"node": self.node, "partition": self.partition}
        problems += [
            f"{k} must be text, got {v!r}" for k, v in places.items() if v is not None and not isinstance(v, str)
        ]
        if not isinstance(self.min_resources, Mapping):
            problems.append(f"min_resources must map names to amounts, got {self.min_resources!r}")
        elif bad := {name: amount for name, amount in self.min_resources.items() if not is_amount(amount)}:
            problems.append(f"min_resources must be finite numbers, at least 0, got {bad!r}")
        if not _is_several(self.where, Criterion):
            problems.append(f"where must be a tuple of Criterion, got {self.where!r}")
        if self.limit is not None and not _is_count(self.limit):
            problems.append(f"limit must be at least 1, got {self.limit!r}")
        return problems


def _is_several(value: object, kind: type = object) -> bool:
    """Say whether this is a collection of such values. A text, which is one of its letters, is hardly meant as that."""
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(v, kind) for v in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
