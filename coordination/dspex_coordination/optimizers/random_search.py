"""Random search: the default, then independent draws that never repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, SearchContext, Told
from dspex_coordination.optimizers.draws import distinct, seeded
from dspex_coordination.optimizers.ledger import Ledger


class RandomSearch:
    """Trial 0 is the default, trial i a draw that depends on seed and i alone; `Demos` draw from the train ids.

    It never waits for a result, so any number of workers evaluates the same candidates. It is done after
    `max_trials`, or sooner if a finite space is exhausted. Seed and number of trials are the context's; given here
    too, they must agree.
    """

    name = "random"

    def __init__(self, *, seed: int | None = None, max_trials: int | None = None) -> None:
        self._settings = (seed, max_trials)
        self._context: SearchContext | None = None
        self._ledger = Ledger(self.name)
        self._exhausted = False

    def start(self, context: SearchContext) -> None:
        """Take the context; any space will do."""
        context.check(self.name, *self._settings)
        self._context = context
        self._space = context.space.bind(context.train_ids, context.train_labels)

    def ask(self, pending: int) -> Ask | None:  # noqa: ARG002 - the contract's; random draws need not wait
        """Return the next draw, or None when done."""
        context, number = self._started(), self._ledger.asked
        if self.done:
            return None
        if number == 0:
            return self._ledger.ask(Ask(self._space.default()))
        candidate = distinct(
            self._space,
            self._ledger.seen,
            lambda attempt: self._space.sample(seeded(context.seed, self.name, number, attempt)),
        )
        if candidate is None:
            self._exhausted = True
            return None
        return self._ledger.ask(Ask(candidate))

    def tell(self, told: Told) -> None:
        """Note a result."""
        self._ledger.tell(told)

    @property
    def done(self) -> bool:
        """Whether all trials were asked or no candidate is left."""
        return self._exhausted or self._ledger.asked >= self._started().max_trials

    def best(self) -> Told | None:
        """Return the best validation trial told so far."""
        return self._ledger.best

    def state_dict(self) -> dict[str, Any]:
        """Return asked and told trials as JSON."""
        return self._ledger.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._started()
        self._ledger.load_state_dict(state)

    def _started(self) -> SearchContext:
        if self._context is None:
            raise OptimizerError(f"{self.name}: start(context) comes first.")
        return self._context
