"""Optimizers by name; a new one is a file here and a line in `OPTIMIZERS`."""

from __future__ import annotations

from collections.abc import Callable

from dspex_coordination.errors import OptimizerError, UnknownOptimizerError, near_matches
from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext, Split, Told
from dspex_coordination.optimizers.bootstrap_demos import BootstrapDemos
from dspex_coordination.optimizers.random_search import RandomSearch

__all__ = [
    "OPTIMIZERS",
    "Ask",
    "BootstrapDemos",
    "Optimizer",
    "RandomSearch",
    "SearchContext",
    "Split",
    "Told",
    "make_optimizer",
]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    BootstrapDemos.name: BootstrapDemos,
    RandomSearch.name: RandomSearch,
}


def make_optimizer(name: str, *, seed: int, max_trials: int) -> Optimizer:
    """Return a fresh optimizer for a search of this seed and number of trials.

    Raises UnknownOptimizerError, with near matches, for an unknown name, and OptimizerError for a bad number.
    """
    if name not in OPTIMIZERS:
        raise UnknownOptimizerError(f"Unknown optimizer {name!r}. {near_matches(name, OPTIMIZERS)}")
    if max_trials < 1:
        raise OptimizerError(f"max_trials must be at least 1, got {max_trials}.")
    return OPTIMIZERS[name](seed=seed, max_trials=max_trials)
