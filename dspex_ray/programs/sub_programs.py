"""The programs within a program: class attributes that are programs, or lists and mappings of them, found by path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program
    from dspex_ray.schema import Schema

Parts = Mapping[str, Any]
"""By attribute: a program, or a tuple, list or dict of parts."""


def declared_parts(cls: type[Program], kind: type[Program]) -> dict[str, Any]:
    """Return the class's public parts, its bases' first. Raises ProgramError for a list with something else in it."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if name.startswith("_") or isinstance(value, type):
                continue
            if _is_part(value, kind, f"{cls.__name__}.{name}"):
                found[name] = value
            else:
                found.pop(name, None)
    return found


def _is_part(value: Any, kind: type[Program], where: str) -> bool:
    if isinstance(value, kind):
        return True
    if not isinstance(value, list | tuple | dict) or not value:
        return False
    held = list(value.values()) if isinstance(value, dict) else value
    parts = [_is_part(one, kind, where) for one in held]
    if not any(parts):
        return False
    if all(parts) and (not isinstance(value, dict) or all(isinstance(key, str) and "." not in key for key in value)):
        return True
    other = next((one for one, part in zip(held, parts, strict=True) if not part), value)
    raise ProgramError(
        f"{where} holds programs and something else, {shown(other)}. Sub-programs stand alone or in a list or a dict "
        "of nothing but programs, its keys texts without a dot."
    )


def walk(parts: Parts) -> Iterator[tuple[str, Program]]:
    """Yield every program with its path, such as `draft` or `experts.0`; not the programs within those."""
    for name, value in parts.items():
        if isinstance(value, Mapping):
            yield from walk({f"{name}.{key}": one for key, one in value.items()})
        elif isinstance(value, list | tuple):
            yield from walk({f"{name}.{position}": one for position, one in enumerate(value)})
        else:
            yield name, value


def below(by_path: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return what is given for the part at a path and for what is below it, by the path from there."""
    found = {name.removeprefix(f"{path}."): one for name, one in by_path.items() if name.startswith(f"{path}.")}
    return {**found, "": by_path[path]} if path in by_path else found


def predictors(program: Program) -> dict[str, Program]:
    """Return the parts that are one model call each, by path; the whole, if it is one itself, has the path ``."""
    every = {"": program, **program.parts}
    return {path: one for path, one in every.items() if one.is_model_call}


def instruction_names(program: Program) -> tuple[str, ...]:
    """Return the names by which a search knows what each model call is told, variables or not."""
    return tuple(f"{path}.instruction" if path else "instruction" for path in predictors(program))


def shows_rows_of(part: Program, whole: Program) -> bool:
    """Return whether a solved row of the whole is one of the part: it has those fields, and others only by default."""
    return _covers(part.Input, whole.Input) and _covers(part.Output, whole.Output, part.unlabelled)


def _covers(own: type[Schema], given: type[Schema], spare: frozenset[str] = frozenset()) -> bool:
    needed = {name for name, info in own.model_fields.items() if info.is_required()} - spare
    return needed <= given.model_fields.keys() <= own.model_fields.keys()


def rebuilt(value: Any, path: str, made: Callable[[str], Program]) -> Any:
    """Return a part of the same shape, with what `made` gives for each path in the programs' places."""
    if isinstance(value, Mapping):
        return {key: rebuilt(one, f"{path}.{key}", made) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return tuple(rebuilt(one, f"{path}.{position}", made) for position, one in enumerate(value))
    return made(path)


def refuse_circles(cls: type[Program], kind: type[Program], seen: tuple[type[Program], ...] = ()) -> None:
    """Raise ProgramError that names the way if a class is within itself; nothing could be built of it."""
    if cls in seen:
        circle = " -> ".join(one.__name__ for one in (*seen[seen.index(cls) :], cls))
        raise ProgramError(f"Circular sub-programs: {circle}. A program cannot be a part of itself.")
    for _, child in walk(declared_parts(cls, kind)):
        refuse_circles(type(child), kind, (*seen, cls))
