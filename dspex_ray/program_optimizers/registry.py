"""Optimizers of programs by name: they write instructions and demonstrations, beside choosing values.

Each is an `Optimizer` (see `dspex_coordination.optimizers.base`) that is made with the sketch of a program:
`factory(sketch, seed=..., max_trials=...)`. What needs a model it asks for as an errand (see `dspex_ray.errands`).
"""

from __future__ import annotations

import importlib
from typing import Any

from dspex_coordination.optimizers import OPTIMIZERS
from dspex_coordination.optimizers.base import Optimizer
from dspex_ray.errors import UnknownNameError
from dspex_ray.program_optimizers.sketch import ProgramSketch

_HOMES: dict[str, str] = {
    "beacon_programs": "dspex_ray.program_optimizers.beacon_programs:BeaconPrograms",
    "bootstrap_few_shot": "dspex_ray.program_optimizers.bootstrap_few_shot:BootstrapFewShot",
    "reflective": "dspex_ray.program_optimizers.reflective:Reflective",
    "simba": "dspex_ray.program_optimizers.simba:Simba",
}
PROGRAM_OPTIMIZERS = tuple(_HOMES)


def make_program_optimizer(name: str, sketch: ProgramSketch, *, seed: int, max_trials: int) -> Optimizer:
    """Return a fresh optimizer for a search of this program. Raises UnknownNameError with near matches."""
    if name not in _HOMES:
        raise UnknownNameError("optimizer", name, [*OPTIMIZERS, *_HOMES])
    module, _, kind = _HOMES[name].partition(":")
    factory: Any = getattr(importlib.import_module(module), kind)
    made: Optimizer = factory(sketch, seed=seed, max_trials=max_trials)
    return made
