"""`Expression` and `Condition`: what holds between the values of variables, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Self

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions.operators import OPERATORS, Evaluate, MismatchError
from dspex_coordination.errors import SpaceError, near_matches

MAX_DEPTH = 50
_SHOWN = 60  # characters of a list or table in a message
_ATOM = 8  # binds tighter than every operator
_MAYBE_TRUE = ("var", "[]", "if")  # values that can be true or false by themselves
_OPPOSITES = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


class Expression:
    """A value computed from the values of variables. Immutable; equal if its JSON is.

    Its JSON is a JSON value as it is (a mapping: `{"literal": {...}}`), `{"var": name}`, or `{"op": operator, "args":
    [...]}` with an operator of `OPERATORS`. Raises SpaceError for an operator or a number of operands that cannot be.
    """

    __slots__ = ("_evaluate", "args", "depth", "names", "op")

    op: str
    args: tuple[Any, ...]
    names: tuple[str, ...]
    """The variables it needs, in order of appearance."""
    depth: int
    _evaluate: Evaluate

    def __init__(self, op: str, args: tuple[Any, ...]) -> None:
        parts = tuple(arg for arg in args if isinstance(arg, Expression))
        names = args if op == "var" else tuple(dict.fromkeys(name for part in parts for name in part.names))
        for slot, value in (
            ("op", op),
            ("args", args),
            ("names", names),
            ("depth", 1 + max((part.depth for part in parts), default=0)),
            ("_evaluate", _compiled(op, args)),
        ):
            object.__setattr__(self, slot, value)
        if self.depth > MAX_DEPTH:
            raise SpaceError(f"An expression may be nested {MAX_DEPTH} deep at most.")

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return what it computes; `ABSENT` if that depends on an absent value.

        Raises SpaceError that shows the expression and the values if one is missing or of the wrong type.
        """
        try:
            result = self._evaluate(values)
        except KeyError as error:
            missing = [name for name in self.names if name not in values]
            if not missing:
                raise
            raise SpaceError(f"{self}: no value of {', '.join(missing)}.") from error
        except (MismatchError, ArithmeticError) as error:
            held = ", ".join(f"{name}={values[name]!r}" for name in self.names)
            raise SpaceError(f"{self} cannot be computed for {held}: {error}.") from error
        if isinstance(result, float) and not math.isfinite(result):
            raise SpaceError(f"{self} is not finite: {self.text(values)}.")
        return result

    def text(self, values: Mapping[str, Any]) -> str:
        """Return it as a person would write it, with values in place of the names that have one."""
        return _text(self, lambda name: _short(values[name]) if name in values else name)

    def renamed(self, rename: Callable[[str], str]) -> Self:
        """Return it with every variable's name replaced by what `rename` makes of it."""
        if self.op == "literal":
            return self
        held = tuple(rename(a) if self.op == "var" else a.renamed(rename) for a in self.args)
        return type(self)(self.op, held)

    def to_json(self) -> Any:
        """Return it as JSON."""
        if self.op == "literal":
            (value,) = self.args
            return {"literal": value} if isinstance(value, Mapping) else value
        if self.op == "var":
            return {"var": self.args[0]}
        return {"op": self.op, "args": [arg.to_json() for arg in self.args]}

    @staticmethod
    def from_json(data: Any) -> Expression:
        """Rebuild an expression from `to_json`. Raises SpaceError for what is no such JSON."""
        return _from_json(data, 0)

    def __setattr__(self, attribute: str, value: Any) -> None:
        raise AttributeError(f"An expression is frozen; {attribute!r} cannot be set.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and canonical_json(self.to_json()) == canonical_json(other.to_json())

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_json()))

    def __str__(self) -> str:
        return self.text({})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[[Any], Expression], tuple[Any]]:
        """Pickle by JSON; closures cannot be pickled."""
        return Expression.from_json, (self.to_json(),)

    def __deepcopy__(self, memo: Any) -> Self:
        return self


class Condition(Expression):
    """An expression that is true, false, or neither because it depends on an inactive variable.

    `&`, `|` and `~` combine conditions; Python's `and`, `or`, `not` and chained comparisons cannot.
    """

    __slots__ = ()

    def __init__(self, op: str, args: tuple[Any, ...]) -> None:
        super().__init__(op, args)
        if not OPERATORS[op].boolean:
            raise SpaceError(f"{self} is a value, no condition; compare it with something.")

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether it is true; False if it is neither. Raises SpaceError as `value` does."""
        return self.value(values) is True

    def __and__(self, other: Any) -> Condition:
        return joined("and", self, other)

    def __or__(self, other: Any) -> Condition:
        return joined("or", self, other)

    def __invert__(self) -> Condition:
        if self.op == "not":
            return as_condition(self.args[0])
        return Condition(_OPPOSITES[self.op], self.args) if self.op in _OPPOSITES else Condition("not", (self,))

    def __bool__(self) -> bool:
        raise SpaceError(
            f"{self} is neither true nor false before variables have values. "
            "Combine conditions with & | ~ (in parentheses), not with 'and', 'or', 'not' or a chained comparison."
        )


def joined(op: str, left: Any, right: Any) -> Condition:
    """Return two conditions joined by "and" or "or"."""
    pair = (as_condition(left), as_condition(right))
    parts = [part for one in pair for part in (one.args if one.op == op else (one,))]
    return Condition(op, tuple(parts))


def as_expression(value: Any) -> Expression:
    """Return an expression as it is, and a JSON value as a literal. Raises SpaceError for what is no JSON."""
    built = getattr(value, "expression", value)
    if isinstance(built, Expression):
        return built
    try:
        canonical_json(value)
    except (TypeError, ValueError) as error:
        raise SpaceError(f"{value!r} is no value that an expression can hold: {error}.") from error
    return Expression("literal", (list(value) if isinstance(value, tuple) else value,))


def as_condition(value: Any) -> Condition:
    """Return a condition, given as one, as its JSON or as a mapping of variables to a value or a list of values.

    `{"model": ["a", "b"], "tools": True}` means that model is one of a and b and tools is True. A value that is true or
    false by itself, such as `V("tools")`, is a condition too. Raises SpaceError for anything else.
    """
    built = getattr(value, "expression", value)
    if isinstance(built, Condition):
        return built
    if isinstance(built, Expression):
        if built.op not in _MAYBE_TRUE:
            raise SpaceError(f"{built} is a value, no condition; compare it with something.")
        return Condition("==", (built, as_expression(value=True)))
    if not isinstance(value, Mapping):
        raise SpaceError(f"A condition is V('name') == value, or a mapping such as {{'name': value}}, got {value!r}.")
    if set(value) == {"op", "args"}:
        return as_condition(Expression.from_json(value))
    if not value:
        raise SpaceError("A condition given as a mapping names at least one variable, got {}.")
    return reduce(lambda left, right: left & right, [_membership(name, one) for name, one in value.items()])


def as_conditions(value: Any) -> tuple[Condition, ...]:
    """Return one condition, a list of them, or None (no condition) as a tuple. Raises SpaceError as `as_condition`."""
    if value is None:
        return ()
    return tuple(as_condition(one) for one in (value if isinstance(value, list | tuple) else [value]))


def _membership(name: Any, value: Any) -> Condition:
    _check_name(name)
    op = "in" if isinstance(value, list | tuple) else "=="
    return Condition(op, (Expression("var", (name,)), as_expression(value)))


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise SpaceError(f"A condition refers to a variable by its name, a text, got {name!r}.")


def _compiled(op: str, args: tuple[Any, ...]) -> Evaluate:
    if op == "literal":
        return lambda _, value=args[0]: value  # type: ignore[misc] # a default argument binds fastest
    if op == "var":
        _check_name(args[0])
        return lambda values, name=args[0]: values[name]  # type: ignore[misc] # likewise
    operator = OPERATORS.get(op)
    if operator is None:
        raise SpaceError(f"Unknown operator {op!r} in an expression. {near_matches(str(op), OPERATORS)}")
    most = len(args) if operator.most is None else operator.most
    if not operator.least <= len(args) <= most:
        right = f"{operator.least}" if operator.most else f"at least {operator.least}"
        raise SpaceError(f"The operator {op!r} takes {right} operands, got {len(args)}.")
    return operator.build(tuple(arg._evaluate for arg in args))  # noqa: SLF001 - of its own class


def _from_json(data: Any, depth: int) -> Expression:
    if depth > MAX_DEPTH:
        raise SpaceError(f"An expression may be nested {MAX_DEPTH} deep at most.")
    if not isinstance(data, Mapping):
        return as_expression(data)
    if set(data) == {"literal"}:
        return as_expression(data["literal"])
    if set(data) == {"var"}:
        return Expression("var", (data["var"],))
    op, args = data.get("op"), data.get("args")
    if set(data) != {"op", "args"} or not isinstance(op, str) or not isinstance(args, list | tuple):
        raise SpaceError(
            f"An expression's JSON is a value, {{'var': name}} or {{'op': operator, 'args': [...]}}, got {data!r}."
        )
    parts = tuple(_from_json(arg, depth + 1) for arg in args)
    return (Condition if op in OPERATORS and OPERATORS[op].boolean else Expression)(op, parts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"


def _text(node: Expression, show: Callable[[str], str]) -> str:
    if node.op == "literal":
        return _short(node.args[0])
    if node.op == "var":
        return show(node.args[0])
    binding = OPERATORS[node.op].binding
    if binding is None:
        return f"{node.op}({', '.join(_text(arg, show) for arg in node.args)})"
    parts = [
        f"({_text(arg, show)})" if _binding(arg) < binding + (position > 0 or binding == 4) else _text(arg, show)  # noqa: PLR2004 - comparisons do not chain
        for position, arg in enumerate(node.args)
    ]
    if node.op == "not":
        return f"not {parts[0]}"
    if node.op == "[]":
        return f"{parts[0]}[{_text(node.args[1], show)}]"
    return f" {node.op} ".join(parts)


def _binding(node: Expression) -> int:
    operator = OPERATORS.get(node.op)
    return _ATOM if operator is None or operator.binding is None else operator.binding
