"""The answer formats by name, and the one a program chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dspex_coordination.variables import Variable
from dspex_ray.errors import ProgramError
from dspex_ray.problems import one_of, shown
from dspex_ray.prompting.answer_formats.base import AnswerFormat
from dspex_ray.prompting.answer_formats.json_object import JSONObject
from dspex_ray.prompting.answer_formats.sections import Sections

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program

ANSWER_FORMATS: dict[str, AnswerFormat] = {form.name: form for form in (JSONObject(), Sections())}
DEFAULT = "json"


def answer_format(program: Program) -> AnswerFormat:
    """Return the format a program's `answer_format` names, `json` without one. Raises ProgramError for another."""
    return _named(getattr(program, "answer_format", DEFAULT), program.path)


def check_answer_format(program_class: type[Program]) -> None:
    """Raise ProgramError for a declared format, or a variable's value, that is none."""
    declared: Any = getattr(program_class, "answer_format", DEFAULT)
    for name in declared.grid(len(ANSWER_FORMATS) + 1) if isinstance(declared, Variable) else [declared]:
        _named(name, program_class.__name__)


def _named(name: Any, where: str) -> AnswerFormat:
    found = ANSWER_FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        known = one_of(list(ANSWER_FORMATS))
        raise ProgramError(f"{where}: answer_format is one of {known}, got {shown(name)}.")
    return found
