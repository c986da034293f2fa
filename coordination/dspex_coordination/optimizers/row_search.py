"""`RowSearch`: the base of searches that look at a candidate on some rows first, and on more if it does well."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Optimizer
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.proposer import Make, Proposer
from dspex_coordination.optimizers.random_search import RandomSearch
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer


class RowSearch(SearchOptimizer):
    """A search over candidates of an inner optimizer, random search unless given, that spends rows and not trials.

    It ends when it has asked for `max_trials` times the rows of the validation split; a look at a candidate counts the
    rows it adds. So there are more trials than `max_trials`, most of them on few rows. What it asks does not depend on
    `max_trials`. All candidates are looked at on the same rows
    first: those of one seeded order. Raises OptimizerError from `start` for several objectives.
    """

    kind: str

    def __init__(self, *, seed: int | None = None, max_trials: int | None = None, inner: Make | None = None) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        self._make: Make = RandomSearch if inner is None else inner
        made: Optimizer = self._make()
        if isinstance(made, RowSearch):
            raise OptimizerError(f"{self.kind} decides on rows itself; {made.name!r} cannot be its inner optimizer.")
        self.name = self.kind if inner is None else f"{self.kind}:{made.name}"

    @abstractmethod
    def least_rows(self) -> int:
        """Return on how many rows a candidate is looked at first."""

    def prepare(self) -> None:
        """Start the inner optimizer. Raises OptimizerError if it cannot search the context."""
        context = self.context
        if len(context.objectives) > 1:
            names = ", ".join(objective.name for objective in context.objectives)
            raise OptimizerError(
                f"{self.name} takes one objective, this search has {names}; use the optimizer 'nsga2'."
            )
        self._order = seeded(context.seed, self.kind).sample(range(context.validation_rows), context.validation_rows)
        self._proposer = Proposer(self._make, context, context.max_trials * context.validation_rows)
        self._proposer.next()  # the default, which is trial 0 here too
        self.opening = self.opening[:1]  # the inner optimizer proposes the early candidates

    def spent(self) -> bool:
        """Whether no row is left to pay for."""
        return self.context.max_trials * self.context.validation_rows <= self.book.rows_asked

    def extra_state(self) -> dict[str, Any]:
        """Return the inner optimizer's state."""
        return self._proposer.state_dict()

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Restore the inner optimizer."""
        self._proposer.load_state_dict(extra)

    def look(self, candidate: Candidate, count: int) -> Ask:
        """Return an ask for a candidate on the first `count` rows of the order."""
        whole = count >= self.context.validation_rows
        return Ask(candidate, rows=None if whole else tuple(sorted(self._order[:count])))

    def newcomer(self) -> Ask | None:
        """Return the first look at a new candidate, or None if there is none now."""
        ask = self._proposer.next()
        if ask is None or ask.split == "train":
            return ask
        return self.look(ask.candidate, self.least_rows())
