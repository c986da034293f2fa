"""Population-based search: members exploit the best and explore around them.

Jaderberg et al., "Population based training of neural networks" (arXiv:1711.09846, 2017), for settings that carry no
weights: what a member takes over from a better one is its candidate. Asynchronous, as there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.pool import Entry, Pool
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer

_ANY_AFTER = 60  # attempts after which any candidate of the space will do
_RESAMPLE = 0.25  # chance that a variable is drawn anew rather than perturbed (the paper's)


class Population(SearchOptimizer):
    """Trial i is a step of member i modulo `members`; a member holds the best of its own results.

    Its first step is drawn at random. After that a member in the worst `quantile` of those with a result starts from
    one in the best `quantile`, any other from itself, and both perturb it: a number by about `strength` of its axis.
    No member waits for another. Raises OptimizerError for settings that cannot be, and from `start` for several
    objectives.
    """

    name = "population"

    def __init__(
        self,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        members: int = 8,
        quantile: float = 0.25,
        strength: float = 0.1,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        if members < 2 or not 0 < quantile <= 0.5 or not 0 < strength <= 1:  # noqa: PLR2004 - one has nobody to copy
            raise OptimizerError(
                f"{self.name}: members must be at least 2, quantile above 0 and at most 0.5, strength above 0 and at "
                f"most 1, got {members}, {quantile} and {strength}."
            )
        self._members, self._quantile, self._strength = members, quantile, strength

    def prepare(self) -> None:
        """Give each member a place, and the results of earlier runs to the first in turn."""
        self._held = [Pool(self.name, self.context, size=1) for _ in range(self._members)]
        for position, told in enumerate(self.book.earlier):
            self._held[position % self._members].add(told)

    def learn(self, told: Told) -> None:
        """Let the member keep the result if it is its best."""
        self._held[told.number % self._members].add(told)

    def propose(self, number: int) -> Ask | None:
        """Return the next step of the member whose turn it is."""
        ranked = sorted((pool.entries[0] for pool in self._held if pool.entries), key=_fitness, reverse=True)
        return self.unseen(lambda attempt: self._step(number, attempt, ranked))

    def _step(self, number: int, attempt: int, ranked: Sequence[Entry]) -> Candidate | None:
        rng = seeded(self.context.seed, self.name, number, attempt)
        if number < self._members or not ranked or attempt >= _ANY_AFTER:
            return self.space.sample(rng)
        count = max(1, round(self._quantile * len(ranked)))
        own = self._held[number % self._members].entries
        copies = not own or (len(ranked) > count and own[0] in ranked[-count:])
        source = rng.choice(ranked[:count]) if copies else own[0]
        return self.space.repair(self._explored(source, rng), rng)

    def _explored(self, source: Entry, rng: random.Random) -> dict[str, object]:
        values = {name: source.candidate.values[name] for name in self.space.free}
        chosen = [name for name in values if rng.random() < 1 / len(values)] or [rng.choice(self.space.free)]
        for name in chosen:
            variable = self.space.variables[name]
            again = rng.random() < _RESAMPLE
            values[name] = variable.sample(rng) if again else variable.mutate(values[name], rng, self._strength)
        return values


def _fitness(entry: Entry) -> tuple[float, float, int]:
    return -entry.violation, entry.gain, -entry.number
