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
    """An inner search whose first trials are candidates that the outer search has asked already, in their order.

    Each is told when the outer search has seen enough of it; so it knows all that is known, and repeats none. `first`
    must begin with the default. Of candidates that are none of its trials it is told nothing.
    """

    def __init__(self, space: Space, context: SearchContext, first: Sequence[Candidate], initial: int) -> None:
        self._optimizer = Beacon(initial=initial)
        self._optimizer.start(replace(context, space=space, early=tuple(first[1:]), max_trials=_UNBOUNDED))
        self._open: dict[str, int] = {}
        for _ in first:
            self.ask()

    def ask(self) -> Ask | None:
        """Return what to ask next; None if nothing is left."""
        number = self._optimizer.book.asked
        ask = self._optimizer.ask(0)
        if ask is not None:
            self._open[ask.candidate.key] = number
        return ask

    def take(self, candidate: Candidate) -> Ask | None:
        """Count a candidate from outside as a trial of this search, and return it; None if it has been asked."""
        book = self._optimizer.book
        if candidate.key in book.seen:
            return None
        self._open[candidate.key] = book.asked
        return book.ask(Ask(candidate))

    def tell(self, told: Told) -> None:
        """Take what became of a candidate; a second time nothing."""
        number = self._open.pop(told.candidate.key, None)
        if number is not None:
            self._optimizer.tell(replace(told, number=number, notes=()))

    def state_dict(self) -> dict[str, Any]:
        """Return as JSON what `load_state_dict` needs, but for the space and the first trials."""
        return {"open": dict(self._open), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, with the same space and first trials."""
        self._open = dict(state["open"])
        self._optimizer.load_state_dict(state["optimizer"])
