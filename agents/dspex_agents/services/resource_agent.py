"""`ResourceAgent`: named resources with a limit, handed out to agents and taken back when these are gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentStoppedError, AgentSystemError, SpecError
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.services.resource_leases import Granted, Reclaimed, ResourceLeases, Want
from dspex_agents.services.resource_tokens import ResourceToken, ResourceTokens
from dspex_agents.services.service_agent import ServiceAgent
from dspex_agents.supervision.registry import Criterion, Query

_log = logging.getLogger(__name__)
_SPARE_CONCURRENCY = 16  # so that those who wait never keep a release out


@dataclass(frozen=True, slots=True)
class AcquireResource:
    """Take `amount` of a resource; answered with a ResourceToken.

    `owner` is `owner_of(context)` for an agent: when that incarnation is gone, the token comes back by itself. With
    `lease_s` it comes back after so many seconds unless renewed; any other owner (a driver) needs that. With `wait_s`
    the answer waits up to so many seconds in a line, first come, first served; the message's timeout must be longer.
    Answered with ResourceExhaustedError (who holds what), or OverloadedError when the line is full.
    """

    resource: str
    amount: float
    owner: str
    lease_s: float | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RenewResource:
    """Let a token's lease last `lease_s` seconds from now; answered False when the token is not out any more."""

    token_id: str
    lease_s: float


@dataclass(frozen=True, slots=True)
class ReleaseResource:
    """Give a token back; answered False when it is not out any more."""

    token_id: str


@dataclass(frozen=True, slots=True)
class GetResourceUsage:
    """Answer with a `ResourceUsage` by resource: its limit, who holds how much, whether it is scarce."""


def owner_of(context: AgentContext) -> str:
    """Return the incarnation of an agent as an owner of resources: `name@epoch`."""
    return f"{context.name}@{context.epoch}"


class ResourceAgent(ServiceAgent):
    """Hands out tokens. Any agent or driver may ask; all but AcquireResource is answered as control message too.

    It looks every `check_s` seconds whether the owners are still registered in the incarnation that acquired. What is
    out is not kept: a new incarnation of this agent hands out everything anew, while those who hold may still use it.
    """

    capabilities = frozenset({"service", "resources"})

    def __init__(
        self,
        limits: Mapping[str, float],
        *,
        alert_share: float = 0.9,
        check_s: float = 5.0,
        most_waiting: int = 1000,
        ids: IdSource | None = None,
    ) -> None:
        """Take the limits; from `alert_share` of one on the resource is scarce. Raises SpecError."""
        super().__init__()
        if not check_s > 0:
            raise SpecError(f"resources: check_s must be a positive number of seconds, got {check_s}.")
        self._ids, self._check_s = ids or RandomIds(), check_s
        self._tokens = ResourceTokens(limits, self._ids, alert_share=alert_share)
        self._leases = ResourceLeases(self._tokens, most_waiting=most_waiting)
        self.concurrency = most_waiting + _SPARE_CONCURRENCY
        self._turns: dict[Want, asyncio.Future[ResourceToken]] = {}
        self._check_at = 0.0
        self._granted = self._expired = self._reclaimed = self._failed_checks = 0
        self._last_error = ""

    async def on_message(self, body: Any) -> Any:
        """Acquire; everything else is a control message too."""
        return await self._acquire(body) if isinstance(body, AcquireResource) else await super().on_message(body)

    async def serve(self, body: Any) -> Any:
        """Renew, release, tell."""
        now = self.context.clock.monotonic()
        match body:
            case RenewResource(token_id, lease_s):
                renewed = self._leases.renew(token_id, lease_s, now)
                self.wake()
                return renewed
            case ReleaseResource(token_id):
                was_out, granted = self._leases.release(token_id, now)
                self._give(granted)
                return was_out
            case GetResourceUsage():
                return self._tokens.usage()
            case _:
                return await super().serve(body)

    async def tick(self) -> float:
        """Take back what expired, and from time to time what belongs to agents that are gone."""
        now = self.context.clock.monotonic()
        expired = self._leases.expire(now)
        self._expired += len(expired.tokens)
        self._settle(expired, "its lease has run out")
        if now >= self._check_at:
            await self._check_owners()
            now = self.context.clock.monotonic()
            self._check_at = now + self._check_s
        return min(self._check_at, self._leases.next_expiry() or self._check_at) - now

    def details(self) -> Mapping[str, Any]:
        """Return each resource's use and line, which are scarce, and what was handed out and taken back so far."""
        usage = self._tokens.usage()
        shown = {
            name: {"limit": u.limit, "used": u.used, "holders": dict(u.holders), "waiting": self._leases.waiting(name)}
            for name, u in usage.items()
        }
        return {
            "resources": shown,
            "scarce": [name for name, u in usage.items() if u.scarce],
            "granted": self._granted,
            "expired": self._expired,
            "reclaimed": self._reclaimed,
            "failed_checks": self._failed_checks,
            "last_error": self._last_error,
        }

    async def _acquire(self, body: AcquireResource) -> ResourceToken:
        if not body.wait_s >= 0:
            raise SpecError(f"resources: wait_s must be a number of seconds, not negative, got {body.wait_s}.")
        want = Want(self._ids.new("want"), body.resource, body.amount, body.owner, body.lease_s)
        token = self._leases.acquire(want, self.context.clock.monotonic(), wait=body.wait_s > 0)
        if token is None:
            token = await self._turn(want, body.wait_s)
        self._granted += 1
        self.wake()  # its lease may be the next to run out
        return token

    async def _turn(self, want: Want, wait_s: float) -> ResourceToken:
        turn: asyncio.Future[ResourceToken] = asyncio.get_running_loop().create_future()
        self._turns[want] = turn
        try:
            async with asyncio.timeout(wait_s):
                return await turn
        except BaseException as error:
            self._withdraw(want, turn)
            if isinstance(error, TimeoutError):
                raise self._tokens.exhausted(want.resource, want.amount) from None
            raise
        finally:
            del self._turns[want]

    def _withdraw(self, want: Want, turn: asyncio.Future[ResourceToken]) -> None:
        now = self.context.clock.monotonic()
        if turn.done() and not turn.cancelled() and turn.exception() is None:  # granted in the moment it gave up
            self._give(self._leases.release(turn.result().id, now)[1])
        else:
            self._give(self._leases.give_up(want, now))

    def _give(self, granted: Iterable[Granted]) -> None:
        for grant in granted:
            turn = self._turns.get(grant.want)
            if turn is not None and not turn.done():
                turn.set_result(grant.token)
            else:
                self._give(self._leases.release(grant.token.id, self.context.clock.monotonic())[1])

    def _settle(self, back: Reclaimed, why: str) -> None:
        for token in back.tokens:
            _log.warning("%g of %r came back from %r: %s", token.amount, token.resource, token.owner, why)
        for want in back.ended:
            if (turn := self._turns.get(want)) is not None and not turn.done():
                turn.set_exception(
                    AgentStoppedError(f"{want.owner!r} is gone: it waits for {want.resource!r} no more.")
                )
        self._give(back.granted)

    async def _check_owners(self) -> None:
        names = {owner.rpartition("@")[0] for owner in self._leases.owners()}
        if not names:
            return
        try:
            found = await self.context.find(Query(where=(Criterion("name", "in", frozenset(names)),)))
        except (AgentSystemError, TimeoutError) as error:  # nobody is known to be gone by that
            self._failed_checks += 1
            self._last_error = f"{type(error).__name__}: {error}"
            _log.warning("%r could not look for its owners: %s", self.context.name, self._last_error)
            return
        self._last_error = ""
        back = self._leases.reclaim({r.name: r.epoch for r in found}, self.context.clock.monotonic())
        self._reclaimed += len(back.tokens)
        self._settle(back, "its owner is gone")
