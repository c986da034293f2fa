"""Optimizers: they are asked for trials and told what these scored."""

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_coordination.optimizers.auto import Auto, Chosen, choose
    from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext, Split, Told
    from dspex_coordination.optimizers.beacon import Beacon
    from dspex_coordination.optimizers.bootstrap_demos import BootstrapDemos
    from dspex_coordination.optimizers.genetic import Genetic
    from dspex_coordination.optimizers.grid import Grid
    from dspex_coordination.optimizers.halving import Halving
    from dspex_coordination.optimizers.latin import Latin
    from dspex_coordination.optimizers.nsga2 import NSGA2
    from dspex_coordination.optimizers.population import Population
    from dspex_coordination.optimizers.racing import Racing
    from dspex_coordination.optimizers.random_search import RandomSearch
    from dspex_coordination.optimizers.registry import (
        OPTIMIZERS,
        make_optimizer,
        optimizer_factory,
        optimizer_settings,
    )
    from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
    from dspex_coordination.optimizers.sobol import Sobol
    from dspex_coordination.optimizers.trial_book import TrialBook

_MODULES = {
    "auto": ("Auto", "Chosen", "choose"),
    "base": ("Ask", "Optimizer", "SearchContext", "Split", "Told"),
    "beacon": ("Beacon",),
    "bootstrap_demos": ("BootstrapDemos",),
    "genetic": ("Genetic",),
    "grid": ("Grid",),
    "halving": ("Halving",),
    "latin": ("Latin",),
    "nsga2": ("NSGA2",),
    "population": ("Population",),
    "racing": ("Racing",),
    "random_search": ("RandomSearch",),
    "registry": ("OPTIMIZERS", "make_optimizer", "optimizer_factory", "optimizer_settings"),
    "search_optimizer": ("SearchOptimizer",),
    "sobol": ("Sobol",),
    "trial_book": ("TrialBook",),
}

__all__ = [
    "NSGA2",
    "OPTIMIZERS",
    "Ask",
    "Auto",
    "Beacon",
    "BootstrapDemos",
    "Chosen",
    "Genetic",
    "Grid",
    "Halving",
    "Latin",
    "Optimizer",
    "Population",
    "Racing",
    "RandomSearch",
    "SearchContext",
    "SearchOptimizer",
    "Sobol",
    "Split",
    "Told",
    "TrialBook",
    "choose",
    "make_optimizer",
    "optimizer_factory",
    "optimizer_settings",
]

__getattr__, __dir__ = lazy_exports(
    __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
)
