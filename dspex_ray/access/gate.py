"""`KeyGate`: lets requests in by API key or bearer token, role, and limits of keys and tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from dspex_agents.clock import Clock, SystemClock
from dspex_ray.access import refusals
from dspex_ray.access.key_ring import KeyRing
from dspex_ray.access.keys import PREFIX
from dspex_ray.access.limits import NO_LIMITS, Limits
from dspex_ray.access.meter import DAY_S, Meter, Spent
from dspex_ray.access.roles import Role, needed_role
from dspex_ray.access.tokens import Tokens
from dspex_ray.serving.contract import Caller, RequestHead
from dspex_ray.serving.problem import Problem

LONGEST_CREDENTIAL: Final = 16_384
"""Characters; tokens with many groups have some thousand."""

_Whose = tuple[Literal["key", "tenant"], str]


class KeyGate:
    """The gate of one endpoint in one replica; implements `dspex_ray.serving.contract.Gate`.

    `owner` is the tenant that the endpoint belongs to: for others it is not there; None lets callers of any tenant in.
    Checked in this order: key or token (401), tenant (404), endpoint and role (403), money (402), requests under way
    and rate (429), the key's limits before its tenant's; what is refused takes nothing of any limit.
    """

    def __init__(
        self,
        endpoint: str,
        ring: KeyRing,
        *,
        owner: str | None = None,
        tokens: Tokens | None = None,
        clock: Clock | None = None,
        needs: Callable[[str, str], Role | None] = needed_role,
    ) -> None:
        self._endpoint, self._owner, self._tokens, self._needs = endpoint, owner, tokens, needs
        self._clock = clock or SystemClock()
        self._ring, self._replicas = ring, 1
        self._meters: dict[_Whose, Meter] = {}

    def replace(self, ring: KeyRing, replicas: int = 1) -> None:
        """Go by these keys and limits from the next request on; `replicas` gates share the limits.

        Requests under way go on, also those of keys that are gone, and keep their places.
        """
        self._ring, self._replicas = ring, replicas
        for whose in list(self._meters):
            limits = self._limits_of(*whose)
            if limits == NO_LIMITS:
                del self._meters[whose]
            else:
                self._meters[whose].change(limits, replicas)

    def spent(self) -> list[Spent]:
        """Return what was spent here of each limit on money, for other replicas and for after a restart."""
        found = [(whose, meter.spent_here) for whose, meter in self._meters.items()]
        return [Spent(of, name, day, usd) for (of, name), (day, usd) in found if usd]

    def hear(self, spent: Iterable[Spent]) -> None:
        """Count what was spent elsewhere: by other replicas, or here before a restart."""
        for one in spent:
            if (meter := self._meter(one.of, one.name, self._clock.monotonic())) is not None:
                meter.hear(one.day, one.usd)

    async def admit(self, head: RequestHead) -> Admitted | Problem:
        """Let a request in, or say why not."""
        written = credential(head.headers)
        if written is None or len(written) > LONGEST_CREDENTIAL:
            return refusals.UNAUTHENTICATED
        now = self._clock.now()
        if written.startswith(PREFIX):
            key = self._ring.find(written, now)
            if key is None:
                return refusals.UNAUTHENTICATED
            caller = Caller(tenant=key.grant.tenant, key_id=key.id, roles=key.grant.roles)
            allowed = key.may_call(self._endpoint)
        else:
            found = refusals.UNAUTHENTICATED if self._tokens is None else await self._tokens.caller(written)
            if isinstance(found, Problem):
                return found
            caller, key, allowed = found, None, True
        if self._owner is not None and caller.tenant != self._owner:
            return refusals.NOT_HERE
        if not allowed:
            return refusals.other_endpoint(self._endpoint)
        role = self._needs(head.method, head.path)
        if role is not None and role not in caller.roles:
            return refusals.lacks(role)
        return self._within_limits(caller, None if key is None else key.id, int(now // DAY_S))

    def _within_limits(self, caller: Caller, key_id: str | None, day: int) -> Admitted | Problem:
        at = self._clock.monotonic()
        entered = []
        limited: tuple[_Whose, ...] = (("tenant", caller.tenant),)
        if key_id is not None:
            limited = (("key", key_id), *limited)
        for of, name in limited:
            meter = self._meter(of, name, at)
            if meter is None:
                continue
            if (refusal := meter.refusal(at, day)) is not None:
                return refusals.over_limit(refusal, f"this {of}", day)
            entered.append(meter)
        for meter in entered:
            meter.enter()
        return Admitted(caller, tuple(entered), self._clock)

    def _meter(self, of: Literal["key", "tenant"], name: str, at: float) -> Meter | None:
        """Return the meter of what has limits; there are no more of them than keys and tenants with limits."""
        meter = self._meters.get((of, name))
        if meter is None and (limits := self._limits_of(of, name)) != NO_LIMITS:
            meter = self._meters[of, name] = Meter(limits, at, self._replicas)
        return meter

    def _limits_of(self, of: Literal["key", "tenant"], name: str) -> Limits:
        if of == "tenant":
            return self._ring.limits_of(name)
        key = self._ring.keys.get(name)
        return NO_LIMITS if key is None else key.grant.limits


class Admitted:
    """A request that was let in."""

    __slots__ = ("_clock", "_meters", "caller")

    def __init__(self, caller: Caller, meters: tuple[Meter, ...], clock: Clock) -> None:
        self.caller, self._meters, self._clock = caller, meters, clock

    def close(self, cost_usd: float | None) -> None:
        """Give back the place and count the money; a second time changes nothing."""
        meters, self._meters = self._meters, ()
        if meters:
            day = int(self._clock.now() // DAY_S)
            for meter in meters:
                meter.leave(cost_usd, day)


def credential(headers: Mapping[str, str]) -> str | None:
    """Return the key or token of a request: that of `authorization: Bearer`, else `x-api-key`; None for none."""
    given = headers.get("authorization")
    if given is not None and given[:7].lower() == "bearer ":
        return given[7:].strip()
    return headers.get("x-api-key")
