"""The contract suite on every registered optimizer."""

from __future__ import annotations

from optimizer_contract import OptimizerContract, context_of

from dspex_coordination import Demos, Space
from dspex_coordination.optimizers import OPTIMIZERS, Grid, Optimizer, SearchContext

LARGE = 1000


def with_demos(space: Space) -> Space:
    return Space({**space.variables, "shown": Demos(max=2)}, space.constraints)


class TestRandom(OptimizerContract):
    name = "random"


class TestBootstrap(OptimizerContract):
    name = "bootstrap"
    spaces = ("demos",)

    def context_for(self, space: Space, seed: int) -> SearchContext:
        return context_of(with_demos(space), trials=self.trials, seed=seed)


class TestGrid(OptimizerContract):
    name = "grid"
    trials = 16
    spaces = ("few", "one")

    def make(self, context: SearchContext) -> Optimizer:
        return Grid(seed=context.seed, max_trials=context.max_trials, levels=2 if context.max_trials > LARGE else None)

    def context_for(self, space: Space, seed: int) -> SearchContext:
        return context_of(space, trials=2 * LARGE, seed=seed)


class TestGenetic(OptimizerContract):
    name = "genetic"
    trials = 24
    several = False


class TestLatin(OptimizerContract):
    name = "latin"
    spaces = ("mixed", "tied", "few")


class TestSobol(OptimizerContract):
    name = "sobol"
    spaces = ("mixed", "tied", "few")


class TestPopulation(OptimizerContract):
    name = "population"
    trials = 24
    several = False


class TestHalving(OptimizerContract):
    name = "halving"
    spaces = ("mixed", "demos", "few", "one")
    several = False
    looks_again = True


class TestHalvingOfGenetic(OptimizerContract):
    name = "halving:genetic"
    spaces = ("tied", "few")
    several = False
    looks_again = True


class TestRacing(OptimizerContract):
    name = "racing"
    spaces = ("mixed", "demos", "few", "one")
    several = False
    looks_again = True


class TestRacingOfGenetic(OptimizerContract):
    name = "racing:genetic"
    spaces = ("tied", "few")
    several = False
    looks_again = True


class TestRacingOfBootstrap(OptimizerContract):
    name = "racing:bootstrap"
    spaces = ("demos",)
    several = False
    looks_again = True

    def context_for(self, space: Space, seed: int) -> SearchContext:
        return context_of(with_demos(space), trials=self.trials, seed=seed)


def test_every_registered_optimizer_passes_the_contract() -> None:
    here = [suite for suite in OptimizerContract.__subclasses__() if suite.__module__ == __name__]
    tested = {suite.name.partition(":")[0] for suite in here}
    elsewhere = {"auto", "beacon", "nsga2"}
    assert tested >= set(OPTIMIZERS) - elsewhere
