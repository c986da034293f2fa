"""Errands: what an optimizer has a model do beside scoring, such as writing a new instruction.

An errand is JSON: `program`, the path of one of this package's own program classes; `input`, its input; and `rollout`,
which tells repeats apart (0 if absent). The answer is the output of that program, as JSON. The input may not hold
what a model should not see; the paths are limited to this package, so that a journal cannot name other code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_ray.errors import ProgramError
from dspex_ray.lm.base import LM
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_path import program_path
from dspex_ray.programs.program_ref import load_program
from dspex_ray.prompting.rollouts import rollout

_OWN = "dspex_ray."


def errand(program: type[Program], given: Mapping[str, Any], number: int = 0) -> dict[str, Any]:
    """Return the errand of asking one of this package's programs. Raises InputError for an input that breaks it."""
    program.Input.parse(given)
    made = {"program": program_path(program), "input": dict(given)}
    return {**made, "rollout": number} if number else made


async def run_errand(asked: Mapping[str, Any], lm: LM) -> dict[str, Any]:
    """Return the answer to an errand. Raises ProgramError for what is none, and what the program raises."""
    path, given = asked.get("program"), asked.get("input")
    if not isinstance(path, str) or not path.startswith(_OWN) or not isinstance(given, Mapping):
        raise ProgramError(f"An errand names a program of dspex_ray and its input, got {shown(asked)}.")
    with rollout(asked.get("rollout", 0)):
        output = await load_program(path)().with_lm(lm).acall(given)
    answer: dict[str, Any] = output.model_dump(mode="json")
    return answer
