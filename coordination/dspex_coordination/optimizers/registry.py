"""Optimizers by name; a new one is a file here and a line in `_HOMES`. Each is imported when it is first made."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from dspex_coordination.errors import OptimizerError, UnknownOptimizerError, near_matches
from dspex_coordination.optimizers.base import Optimizer

_HERE = "dspex_coordination.optimizers"
_HOMES = {
    "auto": ("auto", "Auto"),
    "beacon": ("beacon", "Beacon"),
    "bootstrap": ("bootstrap_demos", "BootstrapDemos"),
    "genetic": ("genetic", "Genetic"),
    "grid": ("grid", "Grid"),
    "halving": ("halving", "Halving"),
    "latin": ("latin", "Latin"),
    "nsga2": ("nsga2", "NSGA2"),
    "population": ("population", "Population"),
    "racing": ("racing", "Racing"),
    "random": ("random_search", "RandomSearch"),
    "sobol": ("sobol", "Sobol"),
}
OUTER = ("halving", "racing")  # those that may have another one inside: "racing:genetic"


def _made(module: str, name: str, **settings: Any) -> Optimizer:
    made: Optimizer = getattr(importlib.import_module(f"{_HERE}.{module}"), name)(**settings)
    return made


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {name: partial(_made, *home) for name, home in _HOMES.items()}


def optimizer_factory(name: str) -> Callable[..., Optimizer]:
    """Return what makes the optimizer of this name; `racing:genetic` is racing with genetic search inside.

    Raises UnknownOptimizerError, with near matches, for an unknown name.
    """
    outer, colon, inner = name.partition(":")
    if colon and outer in OUTER:
        return partial(OPTIMIZERS[outer], inner=optimizer_factory(inner))
    if name not in OPTIMIZERS:
        raise UnknownOptimizerError(f"Unknown optimizer {name!r}. {near_matches(name, OPTIMIZERS)}")
    return OPTIMIZERS[name]


def make_optimizer(name: str, *, seed: int, max_trials: int) -> Optimizer:
    """Return a fresh optimizer for a search of this seed and number of trials.

    Raises UnknownOptimizerError, with near matches, for an unknown name, and OptimizerError for a bad number.
    """
    factory = optimizer_factory(name)
    if max_trials < 1:
        raise OptimizerError(f"max_trials must be at least 1, got {max_trials}.")
    return factory(seed=seed, max_trials=max_trials)
