"""BEACON: Bayesian optimisation over mixed, conditional and constrained spaces.

A Gaussian process over an encoding of all variables is fitted to the bent results; the next trial is the candidate of
greatest log expected improvement. Pending trials count as if they had scored what is expected of them, so that a batch
spreads (kriging believer, Ginsbourger et al. 2010). See `dspex_coordination.beacon` for the parts and their sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dspex_coordination.beacon.acquisition import Acquisition
from dspex_coordination.beacon.encoding import Encoding
from dspex_coordination.beacon.gaussian_process import Data, Posterior, expected, fitted
from dspex_coordination.beacon.kernel import Floats
from dspex_coordination.beacon.outcomes import Outcome, bent, outcome_of, room_of, sampling_variance, single
from dspex_coordination.beacon.proposals import Proposals
from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.sampling import sobol

_LEAST = 3  # results from which on there is something to model
_LEADERS = 5  # best known candidates near which others are looked for
_BEST, _LATEST, _EVEN = 120, 60, 40  # results that are modelled when there are more: the best, the latest, some of all
_REFIT = 20  # the parameters are learnt anew when there are a 20th more results
_ITERATIONS = 40
_WORK = 4000  # results times iterations of one fit


class Beacon(SearchOptimizer):
    """Bayesian optimisation. The first `initial` trials cover the space; each result, also earlier, counts as one.

    Takes any number of objectives and bounds, results on a part of the rows (they count less) and failed trials (what
    is near them counts as a little worse than expected). Raises OptimizerError for `initial` below 1.
    """

    name = "beacon"

    def __init__(self, *, seed: int | None = None, max_trials: int | None = None, initial: int = 10) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        if initial < 1:
            raise OptimizerError(f"{self.name}: initial must be at least 1, got {initial}.")
        self._initial = initial

    def prepare(self) -> None:
        """Begin with the results of earlier runs."""
        self._encoding = Encoding(self.space)
        self._design: Iterator[Candidate] = sobol(self.space, self.context.seed)
        self._designed: list[Candidate] = []
        self._outcomes: dict[str, Outcome] = {}
        self._unknown: dict[str, Floats] = {}
        self._rows: dict[str, Floats] = {}
        self._fitted_at = 0
        self._parameters: list[Floats] = [expected(self._encoding)] * (1 + len(self.context.bounds))
        for told in self.book.earlier:
            self._note(told)

    def learn(self, told: Told) -> None:
        """Take in a result; a failed one is unknown."""
        if told.split != "validation":
            return
        key = told.candidate.key
        latest = self.book.scored.get(key)
        if latest is None:
            self._unknown[key] = self._row(told.candidate)
        elif latest.number == told.number:
            self._note(told)

    def extra_state(self) -> dict[str, Any]:
        """Return the learnt parameters."""
        return {"fitted_at": self._fitted_at, "parameters": [one.tolist() for one in self._parameters]}

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over learnt parameters."""
        self._fitted_at = extra["fitted_at"]
        self._parameters = [np.array(one, dtype=np.float64) for one in extra["parameters"]]

    def propose(self, number: int) -> Ask | None:
        """Return a candidate of the design, or the most promising one by the model."""
        before = (self._fitted_at, self._parameters)
        covering = number + len(self.book.earlier) < self._initial or len(self._outcomes) < _LEAST
        first = [self._of_design(number)] if covering else self._promising(number)
        ask = self.unseen(lambda attempt: first[attempt] if attempt < len(first) else self._any(number, attempt))
        if ask is None:
            self._fitted_at, self._parameters = before
        return ask

    def _any(self, number: int, attempt: int) -> Candidate:
        return self.space.sample(seeded(self.context.seed, self.name, number, attempt))

    def _of_design(self, number: int) -> Candidate | None:
        """Return the candidate of the design for a trial; None if a finite space has no more."""
        while len(self._designed) <= number and (candidate := next(self._design, None)) is not None:
            self._designed.append(candidate)
        return self._designed[number] if number < len(self._designed) else None

    def _promising(self, number: int) -> list[Candidate]:
        rng = seeded(self.context.seed, self.name, number)
        outcomes = list(self._outcomes.values())
        gains = single(outcomes, self.context.objectives, rng)
        chosen = modelled(gains)
        outcomes, gains = [outcomes[index] for index in chosen], gains[chosen]
        rows = np.array([outcome.row for outcome in outcomes])
        noise = sampling_variance(outcomes, self.context.validation_rows, gains)
        targets = [bent(gains), *(room_of(outcomes, index) for index in range(len(self.context.bounds)))]
        data = [Data(rows, values, noise) for values in targets]
        self._fit(data)
        posteriors = [self._imagined(one, parameters) for one, parameters in zip(data, self._parameters, strict=True)]
        means, _ = posteriors[0].predict(rows)
        feasible = np.array([outcome.feasible for outcome in outcomes])
        worth = np.where(feasible, means, means - 1e6) if feasible.any() else targets[-1]
        leaders = [outcomes[int(index)].candidate for index in np.argsort(-worth, kind="stable")[:_LEADERS]]
        best = float(means[feasible].max()) if feasible.any() else None
        acquisition = Acquisition(posteriors[0], best, posteriors[1:])
        return Proposals(self.space, self._encoding, acquisition, rng).ranked(leaders)

    def _fit(self, data: Sequence[Data]) -> None:
        count = len(self._outcomes)
        if self._fitted_at and count - self._fitted_at < max(1, count // _REFIT):
            return
        iterations = min(_ITERATIONS, max(1, _WORK // len(data[0].values)))
        self._fitted_at = count
        self._parameters = [
            fitted(self._encoding, one, start, iterations) for one, start in zip(data, self._parameters, strict=True)
        ]

    def _imagined(self, data: Data, parameters: Floats) -> Posterior:
        """Return the posterior, with pending trials as expected and failed ones a deviation below."""
        posterior = Posterior(self._encoding, parameters, data)
        pending = [self._row(ask.candidate) for ask in self.book.pending.values()]
        rows = [*pending, *self._unknown.values()]
        if not rows:
            return posterior
        means, variances = posterior.predict(np.array(rows))
        means[len(pending) :] -= np.sqrt(variances[len(pending) :])
        return Posterior(self._encoding, parameters, data.joined(Data(np.array(rows), means, np.zeros(len(rows)))))

    def _note(self, told: Told) -> None:
        key = told.candidate.key
        self._unknown.pop(key, None)
        self._outcomes.pop(key, None)  # the latest come last
        self._outcomes[key] = outcome_of(told, self._row(told.candidate), self.context)

    def _row(self, candidate: Candidate) -> Floats:
        if candidate.key not in self._rows:
            self._rows[candidate.key] = self._encoding.encode([candidate.values])[0]
        return self._rows[candidate.key]


def modelled(gains: Floats) -> list[int]:
    """Return which of the results, the latest last, are modelled: all, or the best, the latest and some of the rest."""
    count = len(gains)
    if count <= _BEST + _LATEST + _EVEN:
        return list(range(count))
    best = np.argsort(-gains, kind="stable")[:_BEST].tolist()
    even = np.linspace(0, count - 1, _EVEN).astype(np.int64).tolist()
    return sorted({*best, *range(count - _LATEST, count), *even})
