"""Random search: the default, then independent draws that never repeat."""

from __future__ import annotations

from dspex_coordination.optimizers.base import Ask
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer


class RandomSearch(SearchOptimizer):
    """Trial i is a draw that depends on seed and i alone, by the weights and distributions of the variables.

    It never waits for a result, so any number of workers evaluates the same candidates. It is done after `max_trials`,
    or sooner if a finite space is exhausted. A strong baseline: Bergstra and Bengio, "Random search for hyper-parameter
    optimization", JMLR 13 (2012).
    """

    name = "random"

    def propose(self, number: int) -> Ask | None:
        """Return the next draw."""
        seed = self.context.seed
        return self.unseen(lambda attempt: self.space.sample(seeded(seed, self.name, number, attempt)))
