"""`ProgramSketch`: what an optimizer of programs knows of the one it works on, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_coordination.space import Space
from dspex_coordination.variables import Text
from dspex_ray.example import Example
from dspex_ray.programs.program import Program
from dspex_ray.programs.sub_programs import instruction_names, predictors
from dspex_ray.prompting.typed_call import demos_variable
from dspex_ray.schema import Schema


@dataclass(frozen=True, slots=True)
class FieldSketch:
    """One field of a schema: its name, its type and what is said of it, as text."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class Predictor:
    """One model call of a program, by its `place` (empty: the whole is that call).

    `instruction` is what it is told at first; `instruction_name` and `demos_name` are the names of the variables by
    which a candidate says what it is told and shown, None if it shows nothing.
    """

    place: str
    instruction: str
    instruction_name: str
    demos_name: str | None
    most_demos: int
    inputs: tuple[FieldSketch, ...]
    outputs: tuple[FieldSketch, ...]


@dataclass(frozen=True, slots=True)
class ProgramSketch:
    """A program's name, what it is for, its predictors in the order of their declaration, and the train rows.

    `rows` stand in the order of the train split: row k of a trial on it is `rows[k]`. `has_teacher` says whether there
    is a model that answers trials with `Ask.teacher`.
    """

    name: str
    purpose: str
    predictors: tuple[Predictor, ...]
    rows: tuple[Example, ...]
    has_teacher: bool = False

    @staticmethod
    def of(program: Program, rows: Sequence[Example], *, has_teacher: bool = False) -> ProgramSketch:
        """Return what is to be known of a program and its train rows."""
        found = tuple(_predictor(path, one) for path, one in predictors(program).items())
        return ProgramSketch(type(program).__name__, str(program.instruction), found, tuple(rows), has_teacher)

    def steps_by_place(self, note: Mapping[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
        """Return the steps of a traced row (see `dspex_ray.prompting.steps`) by predictor; {} where there are none."""
        found: dict[str, list[dict[str, Any]]] = {}
        for step in (note or {}).get("trace") or ():
            found.setdefault(step["place"], []).append(step)
        return found


def told_space(program: Program) -> Space:
    """Return the program's space with what each model call is told as a `Text`, where that is no variable yet."""
    space, calls = program.space(), predictors(program)
    texts = {
        name: Text(str(calls[name.rpartition(".")[0]].instruction)).named(name)
        for name in instruction_names(program)
        if name not in space.variables
    }
    return Space({**space.variables, **texts}, space.constraints)


def _predictor(path: str, program: Program) -> Predictor:
    prefix = f"{path}." if path else ""
    demos = demos_variable(type(program))
    return Predictor(
        place=path,
        instruction=str(program.instruction),
        instruction_name=f"{prefix}instruction",
        demos_name=None if demos is None else f"{prefix}{demos}",
        most_demos=0 if demos is None else program.space().demos[demos].max,
        inputs=_fields(program.Input),
        outputs=_fields(program.Output),
    )


def _fields(schema: type[Schema]) -> tuple[FieldSketch, ...]:
    return tuple(
        FieldSketch(name, _type_name(info.annotation), info.description or "")
        for name, info in schema.model_fields.items()
    )


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
