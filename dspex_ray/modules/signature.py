"""`Signature`: what goes in and what comes out of a module, from a text, a program class or two schemas.

| text                                  | meaning                                                                      |
|---------------------------------------|------------------------------------------------------------------------------|
| `question -> answer`                  | both are text                                                                |
| `context: list[str], question -> ...` | types as in Python: str, int, float, bool, list, dict, Literal, `X | None`   |
| `... -> score: float(ge=0, le=10)`    | with the options of `dspex.field`                                            |
| `... -> vector: embedding(dim=768)`   | the ML types by name                                                         |
| `hint?: str -> ...`                   | may be left out, and is None then                                            |
| `k: int = 3 -> ...`                   | has a default                                                                |
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Union

from dspex_coordination.variables import Variable
from dspex_ray.errors import ProgramError, UnknownNameError
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_path import program_path
from dspex_ray.schema import Schema, make_schema
from dspex_ray.schema.runtime_schema import named_type

if TYPE_CHECKING:
    from collections.abc import Sequence

SignatureLike = str | type[Program] | tuple[type[Schema], type[Schema]]

_OPENING, _CLOSING = "[({", "])}"
_PAIR = 2


@dataclass(frozen=True)
class Signature:
    """Two schemas, the instruction if one comes with them, and `extra`: the class attributes a program class gives."""

    input: type[Schema]
    output: type[Schema]
    text: str
    instruction: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(given: Any) -> Signature:
        """Return the signature of a text such as `question -> answer: float`, a program class, or two schemas.

        Raises ProgramError that names the field that is wrong.
        """
        if isinstance(given, str):
            return _from_text(given)
        if isinstance(given, type) and issubclass(given, Program) and hasattr(given, "Input"):
            return _from_program(given)
        if isinstance(given, tuple) and len(given) == _PAIR and all(_is_schema(one) for one in given):
            return Signature(given[0], given[1], f"{_named(given[0])} -> {_named(given[1])}")
        raise ProgramError(
            f"A signature is a text such as 'question -> answer: float', a Program class, or a pair (Input, Output) of "
            f"Schema classes, got {shown(given)}."
        )


def _is_schema(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Schema)


def _named(schema: type[Schema]) -> str:
    return f"{schema.__module__}:{schema.__qualname__}"


def _from_program(given: type[Program]) -> Signature:
    extra: dict[str, Any] = {
        n: v for base in reversed(given.__mro__[:-2]) for n, v in vars(base).items() if isinstance(v, Variable)
    }
    extra |= {"columns": given.columns, "constraints": given.constraints, "unlabelled": given.unlabelled}
    return Signature(given.Input, given.Output, program_path(given), given().instruction, extra)


def _from_text(text: str) -> Signature:
    sides = text.split("->")
    if len(sides) != _PAIR:
        raise ProgramError(
            f"A signature has one arrow: 'inputs -> outputs', such as 'question -> answer', got {text!r}."
        )
    made = [_fields(side, text) for side in sides]
    for role, found in zip(("input", "output"), made, strict=True):
        if not found:
            raise ProgramError(f"The signature {text!r} has no {role}.")
    both = sorted(made[0].keys() & made[1].keys())
    if both:
        raise ProgramError(f"The signature {text!r} has {both[0]!r} as input and as output; call one otherwise.")
    try:
        schemas = [make_schema(name, found) for name, found in zip(("Input", "Output"), made, strict=True)]
    except ProgramError as error:
        raise ProgramError(f"The signature {text!r}: {error}") from error
    return Signature(schemas[0], schemas[1], " -> ".join(" ".join(side.split()) for side in sides))


def _fields(side: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for piece in _split(side, text):
        name, declared = _field(piece, text)
        if name in found:
            raise ProgramError(f"The signature {text!r} names the field {name!r} twice.")
        found[name] = declared
    return found


def _split(side: str, text: str) -> Sequence[str]:
    """Return the pieces between commas that stand in no bracket and no quotes."""
    pieces, depth, quote, last = [], 0, "", 0
    for at, char in enumerate(side):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
        elif char == "," and depth == 0:
            pieces.append(side[last:at])
            last = at + 1
    pieces.append(side[last:])
    stripped = [piece.strip() for piece in pieces]
    if depth or quote:
        raise ProgramError(f"The signature {text!r} has a bracket or a quote that is not closed.")
    if stripped == [""]:
        return ()
    if "" in stripped:
        raise ProgramError(f"The signature {text!r} has a comma too many.")
    return stripped


def _field(piece: str, text: str) -> tuple[str, tuple[Any, dict[str, Any]]]:
    name, _, rest = piece.partition(":")
    head, equals, late = name.partition("=")
    optional = head.strip().endswith("?")
    label = head.strip().removesuffix("?").strip()
    where = f"The signature {text!r}: field {label!r}"
    if not label.isidentifier():
        raise ProgramError(f"The signature {text!r}: {piece!r} is no field; write name or name: type.")
    try:
        # read as an annotated assignment; nothing of it is run
        source = f"x: {rest.strip()}" if rest.strip() else f"x: str{equals}{late}"
        statement = ast.parse(source, mode="exec").body
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"{where}: {rest.strip()!r} is no type.") from error
    if len(statement) != 1 or not isinstance(statement[0], ast.AnnAssign) or not (rest.strip() or ":" not in piece):
        raise ProgramError(f"{where}: {rest.strip()!r} is no type.")
    annotation, options = _type(statement[0].annotation, where)
    if statement[0].value is not None:
        options["default"] = _literal(statement[0].value, where)
    elif optional:
        options["required"] = False
    return label, (annotation, options)


def _type(node: ast.expr, where: str) -> tuple[Any, dict[str, Any]]:
    if isinstance(node, ast.Call) and not node.args and all(one.arg for one in node.keywords):
        return _annotation(node.func, where), {str(one.arg): _literal(one.value, where) for one in node.keywords}
    return _annotation(node, where), {}


def _annotation(node: ast.expr, where: str) -> Any:
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _known(name, where)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_annotation(left, where), _annotation(right, where)]  # noqa: UP007 - made at run time
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            values = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return Literal[tuple(_literal(one, where) for one in values)]
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _GENERIC:
            held = tuple(_annotation(one, where) for one in (inner.elts if isinstance(inner, ast.Tuple) else [inner]))
            return Union[(*held, None)] if name == "Optional" else _GENERIC[name][held]
    raise ProgramError(
        f"{where}: {ast.unparse(node)!r} is no type here; use str, int, float, bool, list[...], dict[...], "
        "Literal[...], an ML type by name, or pass two Schema classes."
    )


_GENERIC: dict[str, Any] = {"list": list, "List": list, "dict": dict, "Dict": dict, "tuple": tuple, "Optional": None}


def _known(name: str, where: str) -> Any:
    try:
        return named_type(name)
    except UnknownNameError as error:
        raise ProgramError(f"{where}: {error}") from error


def _literal(node: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ProgramError(f"{where}: {ast.unparse(node)!r} is no plain value.") from error
