"""How conditions are written in Python: `(V("max_tokens") <= V("window") - 100) & V("provider").is_in(["a", "b"])`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Never

from dspex_coordination.conditions.expression import Condition, Expression, as_condition, as_expression, joined


class Term:
    """A value in a condition: a variable, or what is computed from some. Comparing terms gives a `Condition`."""

    __slots__ = ("expression",)
    __hash__ = None  # type: ignore[assignment] # `==` makes a condition, so a term cannot be looked up

    def __init__(self, expression: Expression) -> None:
        self.expression = expression

    def __eq__(self, other: object) -> Condition:  # type: ignore[override] # the face of the language
        return _compared("==", self, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override] # likewise
        return _compared("!=", self, other)

    def __lt__(self, other: Any) -> Condition:
        return _compared("<", self, other)

    def __le__(self, other: Any) -> Condition:
        return _compared("<=", self, other)

    def __gt__(self, other: Any) -> Condition:
        return _compared(">", self, other)

    def __ge__(self, other: Any) -> Condition:
        return _compared(">=", self, other)

    def is_in(self, options: Any) -> Condition:
        """Return the condition that the value is one of a list (or a part of a text, or a key of a mapping)."""
        if isinstance(options, Sequence) and not isinstance(options, str):
            return _compared("in", self, list(options))
        return _compared("in", self, options)

    def contains(self, item: Any) -> Condition:
        """Return the condition that this list, mapping or text holds `item`."""
        return _compared("in", item, self)

    def __getitem__(self, key: Any) -> Term:
        return _computed("[]", self, key)

    def __iter__(self) -> Never:
        # without this, Python would ask `__getitem__` for 0, 1, 2, ... and never be refused
        raise TypeError(f"{self} has no entries before variables have values; name one: ...[0].")

    def __contains__(self, item: object) -> Never:
        raise TypeError(
            f"{item!r} in {self} is no condition; write .contains({item!r}), or .is_in(...) for the reverse."
        )

    def __add__(self, other: Any) -> Term:
        return _computed("+", self, other)

    def __radd__(self, other: Any) -> Term:
        return _computed("+", other, self)

    def __sub__(self, other: Any) -> Term:
        return _computed("-", self, other)

    def __rsub__(self, other: Any) -> Term:
        return _computed("-", other, self)

    def __mul__(self, other: Any) -> Term:
        return _computed("*", self, other)

    def __rmul__(self, other: Any) -> Term:
        return _computed("*", other, self)

    def __truediv__(self, other: Any) -> Term:
        return _computed("/", self, other)

    def __rtruediv__(self, other: Any) -> Term:
        return _computed("/", other, self)

    def __mod__(self, other: Any) -> Term:
        return _computed("%", self, other)

    def __and__(self, other: Any) -> Condition:
        return joined("and", self, other)

    def __or__(self, other: Any) -> Condition:
        return joined("or", self, other)

    def __invert__(self) -> Condition:
        return ~as_condition(self)

    def __bool__(self) -> bool:
        return bool(as_condition(self))  # raises: a term has no truth before variables have values

    def __str__(self) -> str:
        return str(self.expression)

    def __repr__(self) -> str:
        return f"Term({str(self)!r})"


def V(name: str) -> Term:  # noqa: N802 - short on purpose, as in formulas
    """Return the value of the variable of this name. Raises SpaceError if `name` is no text."""
    return Term(Expression("var", (name,)))


def lookup(table: Mapping[str, Any] | Sequence[Any], key: Any) -> Term:
    """Return the entry of a table by a text (or of a list by a whole number from 0), such as the window of a model."""
    return _computed("[]", dict(table) if isinstance(table, Mapping) else list(table), key)


def length(value: Any) -> Term:
    """Return the length of a text, list or mapping."""
    return _computed("len", value)


def smallest(*values: Any) -> Term:
    """Return the smallest number; inactive variables do not count."""
    return _computed("min", *values)


def largest(*values: Any) -> Term:
    """Return the largest number; inactive variables do not count."""
    return _computed("max", *values)


def total(*values: Any) -> Term:
    """Return the sum of numbers; inactive variables do not count."""
    return _computed("total", *values)


def count(*conditions: Any) -> Term:
    """Return how many of the conditions hold."""
    return Term(Expression("count", tuple(as_condition(condition) for condition in conditions)))


def where(condition: Any, then: Any, otherwise: Any) -> Term:
    """Return one value where a condition holds and another where it does not."""
    return Term(Expression("if", (as_condition(condition), as_expression(then), as_expression(otherwise))))


def implies(condition: Any, consequence: Any) -> Condition:
    """Return the condition that `consequence` holds wherever `condition` does."""
    return joined("or", ~as_condition(condition), consequence)


def _compared(op: str, left: Any, right: Any) -> Condition:
    return Condition(op, (as_expression(left), as_expression(right)))


def _computed(op: str, *values: Any) -> Term:
    return Term(Expression(op, tuple(as_expression(value) for value in values)))
