"""Optimizers of programs by name: they write instructions and demonstrations, beside choosing values.

Each is an `Optimizer` (see `dspex_coordination.optimizers.base`) that is made with the sketch of a program:
`factory(sketch, seed=..., max_trials=...)`. What needs a model it asks for as an errand (see `dspex_ray.errands`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from dspex_coordination.optimizers import OPTIMIZERS
from dspex_coordination.optimizers.base import Optimizer
from dspex_coordination.optimizers.settings import check_settings, settings_of
from dspex_ray.errors import UnknownNameError
from dspex_ray.program_optimizers.sketch import ProgramSketch

_HOMES: dict[str, str] = {
    "beacon_programs": "dspex_ray.program_optimizers.beacon_programs:BeaconPrograms",
    "bootstrap_few_shot": "dspex_ray.program_optimizers.bootstrap_few_shot:BootstrapFewShot",
    "genetic_programs": "dspex_ray.program_optimizers.genetic_programs:GeneticPrograms",
    "labelled_few_shot": "dspex_ray.program_optimizers.labelled_few_shot:LabelledFewShot",
    "reflective": "dspex_ray.program_optimizers.reflective:Reflective",
    "simba": "dspex_ray.program_optimizers.simba:Simba",
}
_SETTINGS: dict[str, str] = {  # of those that keep theirs in a class of its own
    "bootstrap_few_shot": "dspex_ray.program_optimizers.bootstrap_few_shot:FewShotSettings",
    "reflective": "dspex_ray.program_optimizers.reflective_settings:ReflectiveSettings",
}
PROGRAM_OPTIMIZERS = tuple(_HOMES)
TAUGHT = ("beacon_programs", "bootstrap_few_shot")
"""Those that have a teacher show how train rows are solved, where there is one."""


def make_program_optimizer(
    name: str, sketch: ProgramSketch, *, seed: int, max_trials: int, settings: Mapping[str, Any] | None = None
) -> Optimizer:
    """Return a fresh optimizer for a search of this program.

    Raises UnknownNameError with near matches, and OptimizerError for settings that it does not take.
    """
    given = dict(settings or {})
    check_settings(name, program_optimizer_settings(name), given)
    made: Optimizer = _imported(_HOMES[name])(sketch, seed=seed, max_trials=max_trials, **given)
    return made


def program_optimizer_settings(name: str) -> dict[str, Any]:
    """Return the names and types of what may be set of an optimizer. Raises UnknownNameError with near matches."""
    if name not in _HOMES:
        raise UnknownNameError("optimizer", name, [*OPTIMIZERS, *_HOMES])
    return settings_of(_imported(_SETTINGS.get(name, _HOMES[name])))


def _imported(path: str) -> Any:
    module, _, kind = path.partition(":")
    return getattr(importlib.import_module(module), kind)
