"""Which optimizer suits a program, where `auto` is asked for."""

from __future__ import annotations

from dspex_coordination.optimizers.auto import Chosen
from dspex_ray.program_optimizers.sketch import ProgramSketch

_WORDLESS = ("embedded/",)  # models that read no instruction
_FEW_ROWS = 8  # train rows below which nothing can be learnt of failures, and hardly a set of demonstrations chosen
_FEW_TRIALS = 10  # below which a joint search has not begun to learn


def choose_program_optimizer(sketch: ProgramSketch, rows: int, trials: int, model_name: str) -> Chosen | None:
    """Return which optimizer of programs suits one with `rows` train rows, `trials` trials and this model.

    None if nothing is to be gained by writing instructions, since the model reads none: then the choice of
    `dspex_coordination.optimizers.choose` for the space holds.
    """
    if model_name.startswith(_WORDLESS) or not sketch.predictors:
        return None
    shows = any(one.most_demos for one in sketch.predictors)
    if shows and (trials < _FEW_TRIALS or rows < _FEW_ROWS):
        few = f"{trials} trials" if trials < _FEW_TRIALS else f"{rows} train rows"
        return Chosen("bootstrap_few_shot", f"With {few} demonstrations gain most, and need no search to be good.")
    calls = len(sketch.predictors)
    what = "one model call" if calls == 1 else f"{calls} model calls"
    return Chosen(
        "beacon_programs",
        f"The program has {what}: what each is told and shown is searched together with all variables.",
    )
