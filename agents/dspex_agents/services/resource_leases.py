"""Tokens of resources with leases, and a line of those that wait for one: who gets what, and what comes back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dspex_agents.errors import SpecError
from dspex_agents.services.bulkhead import OverloadedError
from dspex_agents.services.resource_tokens import ResourceExhaustedError, ResourceToken, ResourceTokens

_FIRST_GUESS_S = 1.0
_ABSENT_FOR_GOOD = 2  # looks in a row: an agent that still starts is not registered yet


@dataclass(frozen=True, slots=True)
class Want:
    """What somebody waits for. `id` tells those who wait apart."""

    id: str
    resource: str
    amount: float
    owner: str
    lease_s: float | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """Effect: the token is for whoever waited with this id."""

    want: Want
    token: ResourceToken


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What was taken back: the tokens, the waits that ended with their owner, and what could be granted thereby."""

    tokens: tuple[ResourceToken, ...]
    ended: tuple[Want, ...]
    granted: tuple[Granted, ...]


def incarnation(owner: str) -> tuple[str, int] | None:
    """Return name and epoch of an owner `agent@epoch`; None for any other text."""
    name, at, epoch = owner.rpartition("@")
    return (name, int(epoch)) if name and at and epoch.isascii() and epoch.isdigit() else None


class ResourceLeases:
    """Pure: times and ids are passed in. Who waits for a resource is served strictly in order.

    A token without a lease belongs to an agent's incarnation and comes back with its end; one with a lease comes
    back when that expires, unless renewed.
    """

    def __init__(self, tokens: ResourceTokens, *, most_waiting: int = 1000) -> None:
        if most_waiting < 0:
            raise SpecError(f"resources: most_waiting must not be negative, got {most_waiting}.")
        self._tokens, self._most_waiting = tokens, most_waiting
        self._out: dict[str, ResourceToken] = {}
        self._expires_at: dict[str, float] = {}
        self._line: dict[str, deque[Want]] = {resource: deque() for resource in tokens.limits}
        self._absent: dict[str, int] = {}

    def acquire(self, want: Want, now: float, *, wait: bool) -> ResourceToken | None:
        """Return a token, or None: it is in the line (only with `wait`).

        Raises ResourceExhaustedError, OverloadedError when the line is full, and SpecError for what can never be.
        """
        _check(want)
        self._tokens.check(want.resource, want.amount)
        line = self._line[want.resource]
        if not line:  # nobody is overtaken, not even by one who wants less
            try:
                return self._grant(want, now)
            except ResourceExhaustedError:
                if not wait:
                    raise
        elif not wait:
            raise self._tokens.exhausted(want.resource, want.amount)
        if self.waiting() >= self._most_waiting:
            wait_s = min(self._expires_at.values(), default=now + _FIRST_GUESS_S) - now
            raise OverloadedError(want.resource, len(self._out), self.waiting(), max(0.0, wait_s))
        line.append(want)
        return None

    def give_up(self, want: Want, now: float) -> tuple[Granted, ...]:
        """Take somebody out of the line; those behind may fit now."""
        if want in self._line[want.resource]:
            self._line[want.resource].remove(want)
        return self._serve(now)

    def release(self, token_id: str, now: float) -> tuple[bool, tuple[Granted, ...]]:
        """Take a token back; say whether it was out, and who is served by it."""
        was_out = bool(self._take_back([token_id]))
        return was_out, self._serve(now)

    def renew(self, token_id: str, lease_s: float, now: float) -> bool:
        """Let a lease last `lease_s` seconds from now. False when the token is not out (any more)."""
        if not lease_s > 0:
            raise SpecError(f"resources: lease_s must be a positive number of seconds, got {lease_s}.")
        if token_id not in self._out:
            return False
        self._expires_at[token_id] = now + lease_s
        return True

    def expire(self, now: float) -> Reclaimed:
        """Take back what leases have run out of."""
        tokens = self._take_back([token_id for token_id, at in self._expires_at.items() if at <= now])
        return Reclaimed(tokens, (), self._serve(now))

    def reclaim(self, epochs: Mapping[str, int], now: float) -> Reclaimed:
        """Take back what belongs to agents that are gone. `epochs` has the present incarnation of each that lives.

        An earlier incarnation is gone; an agent that is missing is gone when it was so the last time too.
        """
        owners = self.owners()
        self._absent = {owner: self._absent.get(owner, 0) + 1 for owner in owners if _name(owner) not in epochs}
        gone = {owner for owner in owners if _is_earlier(owner, epochs)}
        gone |= {owner for owner, looks in self._absent.items() if looks >= _ABSENT_FOR_GOOD}
        tokens = self._take_back([token.id for token in self._out.values() if token.owner in gone])
        ended = tuple(want for line in self._line.values() for want in line if want.owner in gone)
        for want in ended:
            self._line[want.resource].remove(want)
        return Reclaimed(tokens, ended, self._serve(now))

    def owners(self) -> set[str]:
        """Return the incarnations of agents that hold a token or wait for one."""
        waiting = (want.owner for line in self._line.values() for want in line)
        holding = (token.owner for token in self._out.values())
        return {owner for owner in {*holding, *waiting} if incarnation(owner)}

    def waiting(self, resource: str | None = None) -> int:
        """Return how many wait, for one resource or in all."""
        return sum(len(line) for name, line in self._line.items() if resource in {None, name})

    def next_expiry(self) -> float | None:
        """Return when the next lease runs out, if there is one."""
        return min(self._expires_at.values(), default=None)

    def _grant(self, want: Want, now: float) -> ResourceToken:
        token = self._tokens.acquire(want.resource, want.amount, want.owner, now)
        self._out[token.id] = token
        if want.lease_s is not None:
            self._expires_at[token.id] = now + want.lease_s
        return token

    def _serve(self, now: float) -> tuple[Granted, ...]:
        granted = []
        for line in self._line.values():
            while line:
                try:
                    token = self._grant(line[0], now)
                except ResourceExhaustedError:
                    break
                granted.append(Granted(line.popleft(), token))
        return tuple(granted)

    def _take_back(self, token_ids: Iterable[str]) -> tuple[ResourceToken, ...]:
        tokens = tuple(self._out.pop(token_id) for token_id in token_ids if token_id in self._out)
        for token in tokens:
            self._tokens.release(token.id)
            self._expires_at.pop(token.id, None)
        return tokens


def _name(owner: str) -> str:
    return owner.rpartition("@")[0]


def _is_earlier(owner: str, epochs: Mapping[str, int]) -> bool:
    name, epoch = incarnation(owner) or (owner, 0)
    return epochs.get(name, epoch) > epoch


def _check(want: Want) -> None:
    if want.lease_s is not None and not want.lease_s > 0:
        raise SpecError(f"resources: lease_s must be a positive number of seconds, got {want.lease_s}.")
    if want.lease_s is None and incarnation(want.owner) is None:
        text = "an owner without a lease must be an agent's incarnation, name@epoch (see owner_of)"
        raise SpecError(f"resources: {text}, got {want.owner!r}.")
