"""`Proposer`: an optimizer inside another one, which decides on how many rows its candidates are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext, Told

Make = Callable[[], Optimizer]


class Proposer:
    """Hands out the asks of an inner optimizer and tells it of each once, when its owner has seen enough.

    The inner search has the same context, but `trials` of its own: its owner ends it.
    """

    def __init__(self, make: Make, context: SearchContext, trials: int) -> None:
        self._make, self._context = make, replace(context, max_trials=trials)
        self._inner = self._started()
        self._asked = 0
        self._open: dict[str, int] = {}

    def next(self) -> Ask | None:
        """Return the inner optimizer's next ask, or None if it waits for a result or is done."""
        ask = self._inner.ask(len(self._open))
        if ask is not None:
            self._open[_key(ask)] = self._asked
            self._asked += 1
        return ask

    def settle(self, told: Told) -> None:
        """Tell the inner optimizer what became of a proposal; a second time, or of what it did not propose, nothing."""
        number = self._open.pop(_key(told), None)
        if number is not None:
            self._inner.tell(replace(told, number=number))

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {"asked": self._asked, "open": dict(self._open), "inner": self._inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._inner = self._started()
        self._inner.load_state_dict(state["inner"])
        self._asked, self._open = state["asked"], dict(state["open"])

    def _started(self) -> Optimizer:
        inner = self._make()
        inner.start(self._context)
        return inner


def _key(one: Ask | Told) -> str:
    return f"{one.split}:{one.candidate.key}"
