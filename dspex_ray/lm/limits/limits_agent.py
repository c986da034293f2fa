"""`ModelLimitsAgent`: the limits of models that all processes of a system share."""

from __future__ import annotations

from typing import Any, Final

from dspex_agents import Agent, SpecError
from dspex_ray.lm.limits.slices import Slice, SliceBooks, TakeSlice

_MOST_MODELS: Final = 1000


class ModelLimitsAgent(Agent):
    """Lends slices of models' limits to all processes of a system: no message for each call, and no cap passed.

    `TakeSlice` is answered as a control message too. What is lent is not kept: a new incarnation lends from full
    buckets (a twentieth of a minute's units) and takes up the places that holders report.
    """

    capabilities = frozenset({"model-limits"})

    def __init__(self) -> None:
        self._books = SliceBooks()

    async def on_message(self, body: Any) -> Slice:
        """Lend a slice."""
        return await self.on_control(body)

    async def on_control(self, body: Any) -> Slice:
        """Lend a slice, however full the mailbox."""
        if not isinstance(body, TakeSlice):
            raise NotImplementedError(f"ModelLimitsAgent takes no message of type {type(body).__name__}.")
        if body.model not in self._books.books and len(self._books.books) >= _MOST_MODELS:
            raise SpecError(f"ModelLimitsAgent keeps the limits of {_MOST_MODELS} models, no room for {body.model!r}.")
        return self._books.take(body, self.context.clock.monotonic())

    def details(self) -> dict[str, Any]:
        """Return each model's caps, who holds how many places, and how often a slice was asked for."""
        return {
            model: {"limits": str(book.limits), "places": book.places_out(), "asked": book.asked}
            for model, book in self._books.books.items()
        }
