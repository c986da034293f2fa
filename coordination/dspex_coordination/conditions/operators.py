"""What each operator of an expression computes, with three truth values as in SQL.

The value of an inactive variable is `ABSENT`, the NULL of SQL: arithmetic and comparisons with it are ABSENT, `and`,
`or` and `not` follow Kleene's logic, while `total`, `count`, `min` and `max` pass over it. Numbers are equal if they
differ only by the rounding of floats; a bool is no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

Evaluate = Callable[[Mapping[str, Any]], Any]
Build = Callable[[tuple[Evaluate, ...]], Evaluate]

ROUNDING = 1e-9  # numbers this much apart, relative to the larger, are equal


class _Absent(Enum):
    ABSENT = "absent"

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final[Literal[_Absent.ABSENT]] = _Absent.ABSENT


class MismatchError(TypeError):
    """A value that an operator cannot take; the expression turns it into a SpaceError that names both."""


def number(value: Any) -> float:
    """Return an int or float as it is. Raises MismatchError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MismatchError(f"{value!r} is no number")
    return value


def truth(value: Any) -> bool:
    """Return True or False as it is. Raises MismatchError for anything else."""
    if not isinstance(value, bool):
        raise MismatchError(f"{value!r} is neither true nor false")
    return value


def equal(left: Any, right: Any) -> bool:
    """Return whether two JSON values are the same; True is not 1, and numbers may differ by rounding."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float) or isinstance(right, float):
        if isinstance(left, int | float) and isinstance(right, int | float):
            return math.isclose(left, right, rel_tol=ROUNDING, abs_tol=ROUNDING * ROUNDING)
        return False
    return bool(left == right)


def below(left: Any, right: Any) -> bool:
    """Return whether `left` is less by more than rounding. Raises MismatchError unless both are numbers or texts."""
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    both = f"{left!r} and {right!r} cannot be put in order"
    try:
        return number(left) < number(right) and not equal(left, right)
    except MismatchError as error:
        raise MismatchError(both) from error


def contains(item: Any, container: Any) -> bool:
    """Return whether a list holds `item`, a mapping has it as key, or a text has it within."""
    if isinstance(container, str | Mapping) and isinstance(item, str):
        return item in container
    if isinstance(container, list | tuple):
        return any(equal(item, one) for one in container)
    raise MismatchError(f"{item!r} cannot be looked for in {container!r}")


def entry(container: Any, key: Any) -> Any:
    """Return the entry of a mapping by text or of a list by whole number. Raises MismatchError if there is none."""
    if isinstance(container, Mapping) and isinstance(key, str) and key in container:
        return container[key]
    if isinstance(container, list | tuple) and isinstance(key, int) and not isinstance(key, bool):
        if 0 <= key < len(container):
            return container[key]
        raise MismatchError(f"{container!r} has no entry {key}")
    raise MismatchError(f"{container!r} has no entry {key!r}")


def _length(value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise MismatchError(f"{value!r} has no length")
    return len(value)


def _strict(compute: Callable[..., Any]) -> Build:
    """Make an operator that is ABSENT as soon as one of its operands is."""

    def build(parts: tuple[Evaluate, ...]) -> Evaluate:
        if len(parts) == 1:
            return lambda values, one=parts[0]: (  # type: ignore[misc] # a default argument binds fastest
                ABSENT if (value := one(values)) is ABSENT else compute(value)
            )
        left, right = parts

        def call(values: Mapping[str, Any]) -> Any:
            first, second = left(values), right(values)
            return ABSENT if first is ABSENT or second is ABSENT else compute(first, second)

        return call

    return build


def _present(compute: Callable[[list[Any]], Any]) -> Build:
    """Make an operator over those of its operands that are not ABSENT."""

    def build(parts: tuple[Evaluate, ...]) -> Evaluate:
        def call(values: Mapping[str, Any]) -> Any:
            return compute([value for part in parts if (value := part(values)) is not ABSENT])

        return call

    return build


def _kleene(*, decisive: bool) -> Build:
    """Make `or` (True decides) or `and` (False decides); operands after the deciding one are not looked at."""

    def build(parts: tuple[Evaluate, ...]) -> Evaluate:
        def call(values: Mapping[str, Any]) -> Any:
            result: Any = not decisive
            for part in parts:
                value = part(values)
                if value is ABSENT:
                    result = ABSENT
                elif truth(value) is decisive:
                    return decisive
            return result

        return call

    return build


def _either(parts: tuple[Evaluate, ...]) -> Evaluate:
    condition, then, otherwise = parts

    def call(values: Mapping[str, Any]) -> Any:
        decided = condition(values)
        return ABSENT if decided is ABSENT else (then if truth(decided) else otherwise)(values)

    return call


def _extreme(pick: Callable[[list[float]], float]) -> Callable[[list[Any]], Any]:
    return lambda values: pick([number(value) for value in values]) if values else ABSENT


@dataclass(frozen=True, slots=True)
class Operator:
    """How to build an operator, how many operands it takes, whether it gives a truth value, how tightly it binds."""

    build: Build
    least: int
    most: int | None
    boolean: bool = False
    binding: int | None = None  # None: written as a call


OPERATORS: dict[str, Operator] = {
    "or": Operator(_kleene(decisive=True), 1, None, boolean=True, binding=1),
    "and": Operator(_kleene(decisive=False), 1, None, boolean=True, binding=2),
    "not": Operator(_strict(lambda value: not truth(value)), 1, 1, boolean=True, binding=3),
    "==": Operator(_strict(equal), 2, 2, boolean=True, binding=4),
    "!=": Operator(_strict(lambda left, right: not equal(left, right)), 2, 2, boolean=True, binding=4),
    "<": Operator(_strict(below), 2, 2, boolean=True, binding=4),
    "<=": Operator(_strict(lambda left, right: not below(right, left)), 2, 2, boolean=True, binding=4),
    ">": Operator(_strict(lambda left, right: below(right, left)), 2, 2, boolean=True, binding=4),
    ">=": Operator(_strict(lambda left, right: not below(left, right)), 2, 2, boolean=True, binding=4),
    "in": Operator(_strict(contains), 2, 2, boolean=True, binding=4),
    "+": Operator(_strict(lambda left, right: number(left) + number(right)), 2, 2, binding=5),
    "-": Operator(_strict(lambda left, right: number(left) - number(right)), 2, 2, binding=5),
    "*": Operator(_strict(lambda left, right: number(left) * number(right)), 2, 2, binding=6),
    "/": Operator(_strict(lambda left, right: number(left) / number(right)), 2, 2, binding=6),
    "%": Operator(_strict(lambda left, right: number(left) % number(right)), 2, 2, binding=6),
    "[]": Operator(_strict(entry), 2, 2, binding=7),
    "len": Operator(_strict(_length), 1, 1),
    "min": Operator(_present(_extreme(min)), 1, None),
    "max": Operator(_present(_extreme(max)), 1, None),
    "total": Operator(_present(lambda values: math.fsum(number(value) for value in values)), 1, None),
    "count": Operator(_present(lambda values: sum(truth(value) for value in values)), 1, None),
    "if": Operator(_either, 3, 3),
}
