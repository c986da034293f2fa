"""Named resources with a limit: who holds how much of what, and everything back when the holder is gone."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

from dspex_agents.errors import MessageError, SpecError
from dspex_agents.ids import IdSource

_ROUNDING = 1e-9  # a share of the limit: ten tenths must fit into one


class ResourceExhaustedError(MessageError):
    """Not enough of a resource is free. `holders` maps each owner to the amount it holds."""

    retryable = True

    def __init__(self, resource: str, wanted: float, limit: float, holders: Mapping[str, float]) -> None:
        super().__init__(resource, wanted, limit, dict(holders))
        self.resource, self.wanted, self.limit, self.holders = resource, wanted, limit, dict(holders)

    def __str__(self) -> str:
        free = self.limit - math.fsum(self.holders.values())
        most = sorted(self.holders.items(), key=lambda item: (-item[1], item[0]))
        held = ", ".join(f"{owner!r} {amount:g}" for owner, amount in most)
        return f"{self.wanted:g} of {self.resource!r} wanted, {free:g} of {self.limit:g} free. Held by: {held}."


@dataclass(frozen=True, slots=True)
class ResourceToken:
    """So much of a resource, held by one owner since a moment."""

    id: str
    resource: str
    amount: float
    owner: str
    acquired_at: float


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """One resource at one moment. `scarce` says that the share in use has reached the mark for an alert."""

    limit: float
    used: float
    holders: Mapping[str, float]
    scarce: bool


class ResourceTokens:
    """Tokens of named resources. Pure: whoever runs it tells it when an owner is gone.

    An owner is any name; one that comes back under the same name should carry its epoch ("task-1@7"), so that what
    its earlier life held is told apart.
    """

    def __init__(self, limits: Mapping[str, float], ids: IdSource, *, alert_share: float = 0.9) -> None:
        for name, limit in limits.items():
            if not 0 < limit < math.inf:
                raise SpecError(f"resource {name!r}: the limit must be a positive number, got {limit}.")
        if not 0 < alert_share <= 1:
            raise SpecError(f"resources: alert_share must be in (0, 1], got {alert_share}.")
        self.limits, self._ids, self._alert_share = dict(limits), ids, alert_share
        self._tokens: dict[str, ResourceToken] = {}
        self._used = dict.fromkeys(self.limits, 0.0)

    def acquire(self, resource: str, amount: float, owner: str, now: float) -> ResourceToken:
        """Hand out a token. Raises ResourceExhaustedError, or SpecError for what can never be handed out."""
        self.check(resource, amount)
        if self._used[resource] + amount > self.limits[resource] * (1 + _ROUNDING):
            raise self.exhausted(resource, amount)
        token = ResourceToken(self._ids.new("token"), resource, amount, owner, now)
        self._tokens[token.id] = token
        self._used[resource] += amount
        return token

    def check(self, resource: str, amount: float) -> None:
        """Raise SpecError for what can never be handed out."""
        limit = self._limit(resource)
        if not 0 < amount <= limit:
            raise SpecError(f"resource {resource!r}: an amount must be over 0 and at most {limit:g}, got {amount}.")

    def exhausted(self, resource: str, amount: float) -> ResourceExhaustedError:
        """Return the error that says who holds what of a resource now."""
        return ResourceExhaustedError(resource, amount, self._limit(resource), self._holders(resource))

    def release(self, token_id: str) -> bool:
        """Take a token back. False when it is not out (any more): its owner was found gone, or gave it back before."""
        token = self._tokens.get(token_id)
        return token is not None and bool(self._take_back([token]))

    def release_owner(self, owner: str) -> tuple[ResourceToken, ...]:
        """Take back everything that this owner holds."""
        return self._take_back([token for token in self._tokens.values() if token.owner == owner])

    def release_gone(self, alive: Container[str]) -> tuple[ResourceToken, ...]:
        """Take back what owners hold that are not among the living."""
        return self._take_back([token for token in self._tokens.values() if token.owner not in alive])

    def usage(self) -> dict[str, ResourceUsage]:
        """Return every resource with who holds how much."""
        table = {}
        for resource, limit in self.limits.items():
            holders = self._holders(resource)
            used = math.fsum(holders.values())
            table[resource] = ResourceUsage(limit, used, holders, scarce=used >= self._alert_share * limit)
        return table

    def _limit(self, resource: str) -> float:
        if resource not in self.limits:
            raise SpecError(f"No resource {resource!r}. Known: {', '.join(sorted(self.limits)) or 'none'}.")
        return self.limits[resource]

    def _holders(self, resource: str) -> dict[str, float]:
        amounts: dict[str, float] = {}
        for token in self._tokens.values():
            if token.resource == resource:
                amounts[token.owner] = amounts.get(token.owner, 0.0) + token.amount
        return amounts

    def _take_back(self, tokens: list[ResourceToken]) -> tuple[ResourceToken, ...]:
        for token in tokens:
            del self._tokens[token.id]
            self._used[token.resource] -= token.amount
        return tuple(tokens)
