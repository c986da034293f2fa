"""`Exchanges`: requests under way, each with the version that answers it; what came of them is told at their end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dspex_agents.clock import Clock
from dspex_ray.calls.buffer import Row
from dspex_ray.calls.record import Meter
from dspex_ray.serving.base import Bill, ProgramService
from dspex_ray.serving.contract import Admission, Caller, Outcome, RequestHead, Route, Router, Witness

CLIENT_LEFT = (499, "client-left")
"""Status and code of a request whose client was gone before the answer: nobody ever sees them."""
ANSWERED = (200, None)

_ANYBODY = Caller()


class Ledger(Protocol):
    """Takes the rows of finished requests without waiting; started and closed with the application."""

    def put(self, rows: list[Row]) -> None:
        """Note the rows of one request, answered or failed."""
        ...

    def status(self) -> Mapping[str, int]:
        """Return counts for the health answer."""
        ...

    async def start(self) -> None:
        """Begin to write. Called once, before the first request."""
        ...

    async def close(self) -> None:
        """Write what is left. Called once, after the last request."""
        ...


@dataclass(slots=True)
class Exchange:
    """One request, from the choice of its version to its end. `at` is in seconds since the epoch, `began` monotonic."""

    request_id: str
    caller: Caller
    admission: Admission | None
    route: Route
    service: ProgramService
    bill: Bill
    at: float = 0.0
    began: float = 0.0
    shadow: bool = False


class Exchanges:
    """Begins and ends the requests of one endpoint; `meter` admits their model calls, once it is there."""

    def __init__(
        self, name: str, router: Router, *, ledger: Ledger | None, witness: Witness | None, clock: Clock
    ) -> None:
        self._name, self.router, self.ledger, self._witness, self._clock = name, router, ledger, witness, clock
        self.meter: Meter | None = None

    def begin(self, head: RequestHead, request_id: str, admission: Admission | None) -> Exchange:
        """Choose the version of a request that was let in, and keep it live until `end`."""
        caller = _ANYBODY if admission is None else admission.caller
        return self._begun(request_id, caller, admission, self.router.route(head, caller, request_id))

    def begin_shadow(self, of: Exchange, version: str) -> Exchange:
        """Begin a copy of a request for another version. Raises KeyError if that is not live any more.

        Its calls are recorded under the request's id with `/shadow` behind it.
        """
        route = Route(version=version, arm=version, reason="shadow")
        copy = self._begun(f"{of.request_id}/shadow", of.caller, None, route)
        copy.shadow = True
        return copy

    def end(self, exchange: Exchange, status: int, error: str | None) -> None:
        """Record what the request spent and what came of it, and let its version go. Called once for each."""
        self.router.end(exchange.route.version)
        bill = exchange.bill
        if self.ledger is not None and bill.rows:
            self.ledger.put(bill.rows)
        if exchange.admission is not None:
            exchange.admission.close(bill.cost_usd)
        if self._witness is not None:
            self._witness.saw(self._outcome(exchange, status, error))

    def _begun(self, request_id: str, caller: Caller, admission: Admission | None, route: Route) -> Exchange:
        service = self.router.begin(route.version)
        bill = Bill(request_id, route.version, self._name, self.meter)
        if self._witness is None:
            return Exchange(request_id, caller, admission, route, service, bill)
        at, began = self._clock.now(), self._clock.monotonic()
        return Exchange(request_id, caller, admission, route, service, bill, at, began)

    def _outcome(self, exchange: Exchange, status: int, error: str | None) -> Outcome:
        bill = exchange.bill
        return Outcome(
            request_id=exchange.request_id,
            endpoint=self._name,
            version=exchange.route.version,
            arm=exchange.route.arm,
            caller=exchange.caller,
            status=status,
            at=exchange.at,
            latency_s=self._clock.monotonic() - exchange.began,
            cost_usd=bill.cost_usd,
            tokens=sum(_tokens(row) for row in bill.rows),
            error=error,
            shadow=exchange.shadow,
        )


def _tokens(row: Mapping[str, Any]) -> int:
    return int(row.get("prompt_tokens") or 0) + int(row.get("completion_tokens") or 0)
