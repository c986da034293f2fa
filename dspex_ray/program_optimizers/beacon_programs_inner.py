"""`Inner`: the Bayesian search over what is to be chosen from at present, begun anew whenever there is more of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Ask, SearchContext, Told
from dspex_coordination.optimizers.beacon import Beacon
from dspex_coordination.space import Space

_UNBOUNDED = 10**9  # trials: the search around it says when it ends


class Inner:
    """An inner search whose first trials are those that the outer search has asked already, in their order.

    They are told at once if they are told, and else when they are; so it knows all that is known, and repeats none.
    `first` must begin with the default. Trials that the outer search asked elsewhere are told to nobody.
    """

    def __init__(self, space: Space, context: SearchContext, first: Mapping[int, Candidate], initial: int) -> None:
        early = tuple(first.values())[1:]
        self._optimizer = Beacon(initial=initial)
        self._optimizer.start(replace(context, space=space, early=early, max_trials=_UNBOUNDED))
        self._numbers: dict[int, int] = {}
        for inner, outer in enumerate(first):
            self._optimizer.ask(0)
            self._numbers[outer] = inner

    def ask(self, number: int) -> Ask | None:
        """Return what to ask as the outer trial `number`; None if nothing is left."""
        inner = self._optimizer.book.asked
        ask = self._optimizer.ask(0)
        if ask is not None:
            self._numbers[number] = inner
        return ask

    def take(self, number: int, candidate: Candidate) -> Ask | None:
        """Count a candidate from outside as a trial of this search, and return it; None if it has been asked."""
        book = self._optimizer.book
        if candidate.key in book.seen:
            return None
        self._numbers[number] = book.asked
        return book.ask(Ask(candidate))

    def tell(self, told: Told) -> None:
        """Take the result of an outer trial."""
        inner = self._numbers.pop(told.number, None)
        if inner is not None:
            self._optimizer.tell(replace(told, number=inner, notes=()))

    def tell_all(self, told: Sequence[Told]) -> None:
        """Take several results, in their order."""
        for one in told:
            self.tell(one)

    def state_dict(self) -> dict[str, Any]:
        """Return as JSON what `load_state_dict` needs, but for the space and the first trials."""
        numbers = [[outer, inner] for outer, inner in self._numbers.items()]
        return {"numbers": numbers, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, with the same space and first trials."""
        self._numbers = dict(state["numbers"])
        self._optimizer.load_state_dict(state["optimizer"])
