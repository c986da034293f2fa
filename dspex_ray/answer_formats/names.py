"""The answer formats by name, and the one a program chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dspex_ray.answer_formats.base import AnswerFormat
from dspex_ray.answer_formats.json_object import JSONObject
from dspex_ray.answer_formats.sections import Sections
from dspex_ray.errors import ProgramError
from dspex_ray.problems import one_of, shown

if TYPE_CHECKING:
    from dspex_ray.program import Program

ANSWER_FORMATS: dict[str, AnswerFormat] = {form.name: form for form in (JSONObject(), Sections())}
DEFAULT = "json"


def answer_format(program: Program) -> AnswerFormat:
    """Return the format a program's `answer_format` names, `json` without one. Raises ProgramError for another."""
    name: Any = getattr(program, "answer_format", DEFAULT)
    found = ANSWER_FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ProgramError(
            f"{program.path}: answer_format is one of {one_of(list(ANSWER_FORMATS))}, got {shown(name)}."
        )
    return found
