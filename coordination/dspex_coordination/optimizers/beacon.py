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
from dspex_coordination.beacon.gaussian_process import Data, Posterior, fitted, guesses
from dspex_coordination.beacon.kernel import Floats
from dspex_coordination.beacon.outcomes import Outcome, outcome_of, room_of, sampling_variance, shapes, single
from dspex_coordination.beacon.proposals import Proposals
from dspex_coordination.beacon.threads import one_thread
from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.sampling import sobol

_LEAST = 3  # results from which on there is something to model
_LEADERS = 5  # best known candidates near which others are looked for
_BEST, _LATEST, _EVEN = 100, 50, 30  # results that are modelled when there are more: the best, the latest, some of all
_IMAGINED = 100  # pending trials, and failed ones, that are modelled: the latest
_REFIT = 20  # the parameters are learnt anew when there are a 20th more results
_BROAD = 4  # every fourth time not only from the last parameters
_ITERATIONS = 40
_WORK = 4000  # results times iterations of one fit


class Beacon(SearchOptimizer):
    """Bayesian optimisation. The first `initial` trials cover the space; each result, also earlier, counts as one.

    Takes any number of objectives and bounds, results on a part of the rows (they count less) and failed trials (what
    is near them counts as middling at best). Raises OptimizerError for `initial` below 1.
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
        self._fits = self._fitted_at = 0
        self._shape = 0
        self._parameters: list[Floats] = []
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
        parameters = [one.tolist() for one in self._parameters]
        counts = {"fits": self._fits, "fitted_at": self._fitted_at, "shape": self._shape}
        return {**counts, "parameters": parameters}

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over learnt parameters."""
        self._fits, self._fitted_at, self._shape = (extra[key] for key in ("fits", "fitted_at", "shape"))
        self._parameters = [np.array(one, dtype=np.float64) for one in extra["parameters"]]

    def propose(self, number: int) -> Ask | None:
        """Return a candidate of the design, or the most promising one by the model."""
        before = (self._fits, self._fitted_at, self._shape, self._parameters)
        covering = number + len(self.book.earlier) < self._initial or len(self._outcomes) < _LEAST
        first = iter([self._of_design(number)]) if covering else self._promising(number)
        with one_thread():
            ask = self.unseen(lambda attempt: next(first, None) or self._any(number, attempt))
        if ask is None:
            self._fits, self._fitted_at, self._shape, self._parameters = before
        return ask

    def _any(self, number: int, attempt: int) -> Candidate:
        return self.space.sample(seeded(self.context.seed, self.name, number, attempt))

    def _of_design(self, number: int) -> Candidate | None:
        """Return the candidate of the design for a trial; None if a finite space has no more."""
        while len(self._designed) <= number and (candidate := next(self._design, None)) is not None:
            self._designed.append(candidate)
        return self._designed[number] if number < len(self._designed) else None

    def _promising(self, number: int) -> Iterator[Candidate]:
        rng = seeded(self.context.seed, self.name, number)
        outcomes = list(self._outcomes.values())
        gains = single(outcomes, self.context.objectives, rng)
        chosen = modelled(gains)
        outcomes, gains = [outcomes[index] for index in chosen], gains[chosen]
        rows = np.array([outcome.row for outcome in outcomes])
        noise = sampling_variance(outcomes, self.context.validation_rows, gains)
        bent = shapes(gains)
        data = [Data(rows, shape.values, noise) for shape in bent]
        data += [Data(rows, room_of(outcomes, index), noise) for index in range(len(self.context.bounds))]
        self._fit(data, [shape.stretch for shape in bent])
        outcome = self._imagined(data[self._shape], self._parameters[self._shape], hopeful=True)
        limits = [
            self._imagined(one, parameters, hopeful=False)
            for one, parameters in zip(data[len(bent) :], self._parameters[len(bent) :], strict=True)
        ]
        means, _ = outcome.predict(rows)
        feasible = np.array([outcome.feasible for outcome in outcomes])
        worth = np.where(feasible, means, means - 1e6) if feasible.any() else data[-1].values
        leaders = [outcomes[int(index)].candidate for index in np.argsort(-worth, kind="stable")[:_LEADERS]]
        best = float(means[feasible].max()) if feasible.any() else None
        if best is not None:
            best = float(outcome.data.values[len(rows) :].max(initial=best))
        acquisition = Acquisition(outcome, best, limits)
        return Proposals(self.space, self._encoding, acquisition, rng).ranked(leaders)

    def _fit(self, data: Sequence[Data], stretches: Sequence[float]) -> None:
        """Learn the parameters anew once there are enough more results, and which of the shapes fits."""
        count = len(self._outcomes)
        if self._fitted_at and count - self._fitted_at < max(1, count // _REFIT):
            return
        starts = [guesses(self._encoding)] * len(data) if self._fits % _BROAD == 0 else [[]] * len(data)
        if self._parameters:
            starts = [[known, *others] for known, others in zip(self._parameters, starts, strict=True)]
        found = [self._fitted(one, several) for one, several in zip(data, starts, strict=True)]
        self._fits, self._fitted_at, self._parameters = self._fits + 1, count, [parameters for parameters, _ in found]
        self._shape = min(range(len(stretches)), key=lambda index: found[index][1] - stretches[index])

    def _fitted(self, data: Data, starts: Sequence[Floats]) -> tuple[Floats, float]:
        iterations = min(_ITERATIONS, max(1, _WORK // len(data.values)))
        return min((fitted(self._encoding, data, start, iterations) for start in starts), key=lambda fit: fit[1])

    def _imagined(self, data: Data, parameters: Floats, *, hopeful: bool) -> Posterior:
        """Return the posterior, with pending trials as expected and failed ones middling at best.

        A `hopeful` one takes pending trials to be as good as the best so far at least, so that others look elsewhere.
        """
        posterior = Posterior(self._encoding, parameters, data)
        pending = [self._row(ask.candidate) for ask in self.book.pending.values()][-_IMAGINED:]
        rows = [*pending, *list(self._unknown.values())[-_IMAGINED:]]
        if not rows:
            return posterior
        means, _ = posterior.predict(np.array(rows))
        if hopeful:
            means[: len(pending)] = np.maximum(means[: len(pending)], posterior.predict(data.rows)[0].max())
        means[len(pending) :] = np.minimum(means[len(pending) :], np.median(data.values))
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
