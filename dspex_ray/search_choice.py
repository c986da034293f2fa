"""`auto`: which optimizer suits a program, its model and the number of trials, before there is a search."""

from __future__ import annotations

from typing import Final

from dspex_coordination.optimizers import Chosen
from dspex_ray.configuration import chosen_lm
from dspex_ray.program_optimizers.sketch import told_space
from dspex_ray.programs.program import Program
from dspex_ray.programs.sub_programs import instruction_names, predictors
from dspex_ray.prompting.typed_call import demos_variable

_LEAST_TRIALS: Final = 5  # what demonstrations made by the program itself take
_MANY_TRIALS: Final = 40  # from which on breeding finds as good texts, and better numbers (benchmarks/README.md)
_FEW_TRIALS: Final = 10  # too few to learn what each of several texts is worth; demonstrations alone are quick to try


def program_optimizer_for(program: Program, trials: int, *, has_teacher: bool = False) -> Chosen | None:
    """Return the optimizer of programs that suits, None where there are only values to choose.

    Nothing can be written with an embedded model, in very few trials, or for a program without a model call that may
    be told anything.
    """
    own = chosen_lm(program.lm_name)
    if trials < _LEAST_TRIALS or (own if isinstance(own, str) else own.model).startswith("embedded/"):
        return None
    calls = predictors(program)
    shows = any(demos_variable(type(one)) is not None for one in calls.values())
    if trials < _FEW_TRIALS:
        reason = f"With {trials} trials there is room for good demonstrations, which the program makes itself."
        return Chosen("bootstrap_few_shot", reason) if shows else None
    space = told_space(program)
    if not any(name in space.free for name in instruction_names(program)):
        return None
    found = "instructions and demonstrations" if shows else "instructions"
    if trials > _MANY_TRIALS and not has_teacher:
        reason = f"A model writes {found}, which are bred together with all other variables over {trials} trials."
        return Chosen("genetic_programs", reason)
    return Chosen("beacon_programs", f"A model writes {found}, which are chosen together with all other variables.")
