"""`RoutedLM`: each call goes to one of several models that can all answer it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, get_args

from dspex_agents.clock import Clock
from dspex_agents.services.breaker import BreakerSettings, Permit
from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest
from dspex_ray.lm.routing.members import Member, SeveralModels

Rule = Literal["least_in_flight", "weighted", "latency"]
_EXPLORED: Final = 0.05


class RoutedLM(SeveralModels):
    """Chooses a model for each call; one that failed five times in a row is passed over for half a minute.

    | rule              | chooses                                                                             |
    |-------------------|-------------------------------------------------------------------------------------|
    | `least_in_flight` | the model with the fewest open calls for its weight, the earlier of equals          |
    | `weighted`        | by turns, in proportion to the weights, evenly mixed (nginx's smooth round robin)   |
    | `latency`         | the model whose calls were shortest of late; one call in 20 any other, to know them |

    The reply names the model that answered and costs what that one costs. No call is asked twice: put a `FallbackLM`
    around or within for that. Raises ConfigurationError for an unknown rule, and for weights that are not one positive
    number for each model.
    """

    def __init__(
        self,
        models: Sequence[LM | str],
        *,
        rule: Rule = "least_in_flight",
        weights: Sequence[float] | None = None,
        breaker: BreakerSettings | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(models, breaker=breaker, clock=clock)
        if rule not in get_args(Rule):
            raise ConfigurationError(f"Unknown rule {rule!r} for choosing a model; known: {', '.join(get_args(Rule))}.")
        self._weights = [1.0] * len(models) if weights is None else [float(weight) for weight in weights]
        if len(self._weights) != len(models) or not all(0 < weight < float("inf") for weight in self._weights):
            raise ConfigurationError(
                f"weights must be one positive number for each of the {len(models)} models, got {weights!r}."
            )
        self._rule = rule
        self._turns = [0.0] * len(models)
        self._rng = rng or random.Random()  # noqa: S311 - a choice of models, not secrecy

    async def complete(self, request: LMRequest) -> LMReply:
        """Answer by the chosen model. Raises what it raises."""
        member, permit = self._choose()
        return await member.complete(request, permit)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        """Answer piece by piece, by the chosen model."""
        member, permit = self._choose()
        async for chunk in member.stream(request, permit):
            yield chunk

    def _choose(self) -> tuple[Member, Permit | None]:
        """Return the best model whose breaker lets a call through; the best of all when none does."""
        order = self._ranked()
        for position in order:
            permit = self._members[position].admit()
            if permit is not None:
                return self._take_turn(position), permit
        return self._take_turn(order[0]), None

    def _ranked(self) -> list[int]:
        positions = range(len(self._members))
        if self._rule == "least_in_flight":
            return sorted(positions, key=lambda at: (self._members[at].in_flight + 1) / self._weights[at])
        if self._rule == "weighted":
            return sorted(positions, key=lambda at: -(self._turns[at] + self._weights[at]))
        ranked = sorted(positions, key=lambda at: self._members[at].latency_s / self._weights[at])
        if self._rng.random() < _EXPLORED:
            ranked.insert(0, ranked.pop(self._rng.randrange(len(ranked))))
        return ranked

    def _take_turn(self, position: int) -> Member:
        if self._rule == "weighted":
            self._turns = [turn + weight for turn, weight in zip(self._turns, self._weights, strict=True)]
            self._turns[position] -= sum(self._weights)
        return self._members[position]
