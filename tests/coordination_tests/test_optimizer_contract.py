"""The contract suite on every registered optimizer."""

from __future__ import annotations

from optimizer_contract import OptimizerContract

from dspex_coordination.optimizers import OPTIMIZERS


class TestRandom(OptimizerContract):
    name = "random"


class TestBootstrap(OptimizerContract):
    name = "bootstrap"
    spaces = ("demos",)


class TestGrid(OptimizerContract):
    name = "grid"
    trials = 16
    spaces = ("few", "one")


class TestGenetic(OptimizerContract):
    name = "genetic"
    trials = 24
    several = False


class TestPopulation(OptimizerContract):
    name = "population"
    trials = 24
    several = False


class TestHalving(OptimizerContract):
    name = "halving"
    several = False
    looks_again = True


class TestHalvingOfGenetic(OptimizerContract):
    name = "halving:genetic"
    several = False
    looks_again = True


class TestRacing(OptimizerContract):
    name = "racing"
    several = False
    looks_again = True


class TestRacingOfGenetic(OptimizerContract):
    name = "racing:genetic"
    several = False
    looks_again = True


class TestRacingOfBootstrap(OptimizerContract):
    name = "racing:bootstrap"
    spaces = ("demos",)
    several = False
    looks_again = True


def test_every_registered_optimizer_passes_the_contract() -> None:
    tested = {suite.name.partition(":")[0] for suite in OptimizerContract.__subclasses__()}
    assert tested >= set(OPTIMIZERS) - {"auto"}
