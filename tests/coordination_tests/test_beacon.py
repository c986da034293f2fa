"""BEACON: the contract."""

from __future__ import annotations

from typing import ClassVar

from optimizer_contract import OptimizerContract

from dspex_coordination.optimizers import Optimizer, SearchContext
from dspex_coordination.optimizers.beacon import Beacon


class TestBeacon(OptimizerContract):
    name = "beacon"
    trials: ClassVar[int] = 12

    def make(self, context: SearchContext) -> Optimizer:
        return Beacon(seed=context.seed, max_trials=context.max_trials, initial=4)
