"""Optimizers by name; a new one is a file here and a line in `_HOMES`. Each is imported when it is first made."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dspex_coordination.errors import OptimizerError, UnknownOptimizerError, near_matches
from dspex_coordination.optimizers.base import Optimizer
from dspex_coordination.optimizers.settings import check_settings, settings_of

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


def optimizer_factory(name: str, settings: Mapping[str, Any] | None = None) -> Callable[..., Optimizer]:
    """Return what makes the optimizer of this name; `racing:genetic` is racing with genetic search inside.

    Of `settings` the outer one takes those it knows, the inner one the others. Raises UnknownOptimizerError, with near
    matches, for an unknown name, and OptimizerError for settings that it does not take.
    """
    given = dict(settings or {})
    outer, inner = _parts(name)
    if given:  # which imports it
        check_settings(name, optimizer_settings(name), given)
    if inner is None:
        return partial(OPTIMIZERS[outer], **given)
    own = {key: given.pop(key) for key in _own_settings(outer) if key in given} if given else {}
    return partial(OPTIMIZERS[outer], inner=optimizer_factory(inner, given), **own)


def optimizer_settings(name: str) -> dict[str, Any]:
    """Return the names and types of what may be set of the optimizer of this name, as `optimizer_factory` takes it."""
    outer, inner = _parts(name)
    return {**({} if inner is None else optimizer_settings(inner)), **_own_settings(outer)}


def make_optimizer(name: str, *, seed: int, max_trials: int, settings: Mapping[str, Any] | None = None) -> Optimizer:
    """Return a fresh optimizer for a search of this seed and number of trials.

    Raises UnknownOptimizerError, with near matches, for an unknown name, and OptimizerError for a bad number or
    settings that it does not take.
    """
    factory = optimizer_factory(name, settings)
    if max_trials < 1:
        raise OptimizerError(f"max_trials must be at least 1, got {max_trials}.")
    return factory(seed=seed, max_trials=max_trials)


def _parts(name: str) -> tuple[str, str | None]:
    """Return the outer and the inner name; there is no inner one in most names."""
    outer, colon, inner = name.partition(":")
    if colon and outer in OUTER:
        return outer, inner
    if name not in OPTIMIZERS:
        raise UnknownOptimizerError(f"Unknown optimizer {name!r}. {near_matches(name, OPTIMIZERS)}")
    return name, None


def _own_settings(name: str) -> dict[str, Any]:
    module, kind = _HOMES[name]
    return settings_of(getattr(importlib.import_module(f"{_HERE}.{module}"), kind))
