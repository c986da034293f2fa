"""A client's places at a model whose concurrency is shared by processes: borrowed, renewed, given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final, Protocol

from dspex_ray.lm.limits.lender import Lender
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.limits.slices import PLACES_S, TakeSlice

_LOG = logging.getLogger(__name__)
_RENEW_S: Final = 1.0
_SHORT_S: Final = 0.1
_SHORTEST_S: Final = 0.02
_IDLE_S: Final = 1.0
_GIVE_BACK_S: Final = 1.0


class Gate(Protocol):
    """What borrows places."""

    in_flight: int

    @property
    def wanted(self) -> int:
        """How many requests are open or wait."""
        ...

    def set_ceiling(self, ceiling: int) -> None:
        """Let so many be open at most."""
        ...


class Places:
    """Asks the lender while calls are open or wait, every second, ten times as often while some wait in vain.

    Places that nobody renewed for PLACES_S are used no more: by then they may be lent to another process.
    """

    def __init__(self, model: str, limits: LMLimits, holder: str, lender: Lender, most: int) -> None:
        self._model, self._limits, self._holder, self._lender, self._most = model, limits, holder, lender, most
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._held = 0

    def keep(self, gate: Gate) -> None:
        """See that the gate has places, until it needs none. Called whenever a call waits."""
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(gate), name=f"places of {self._model}")

    async def aclose(self) -> None:
        """Ask no more, and give back what is held, if the lender answers within a second."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_S):
                await self._ask(0, 0)

    async def _run(self, gate: Gate) -> None:
        loop = asyncio.get_running_loop()
        renewed_at = idle_since = loop.time()
        while True:
            self._news.clear()
            wanted = min(gate.wanted, self._most)
            gate.set_ceiling(gate.in_flight)  # what is told as in use must hold until the answer is there
            lent = await self._ask(wanted, gate.in_flight)
            now = loop.time()
            if lent is not None:
                renewed_at = now
            if lent is not None or now - renewed_at < PLACES_S:
                self._held = self._held if lent is None else lent
                gate.set_ceiling(self._held)
            idle_since = now if gate.wanted else idle_since
            if wanted == gate.wanted == 0 and now - idle_since >= _IDLE_S:
                return
            await asyncio.sleep(_SHORTEST_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _SHORT_S if gate.wanted > self._held else _RENEW_S)

    async def _ask(self, wanted: int, in_use: int) -> int | None:
        """Return the places lent, None when the lender cannot be asked."""
        ask = TakeSlice(model=self._model, limits=self._limits, holder=self._holder, places=wanted, in_use=in_use)
        try:
            return (await self._lender(ask)).places
        except Exception as error:  # noqa: BLE001 - whatever the way to the lender raises; the places held run out by themselves
            _LOG.warning("places of %s could not be renewed, to be tried again: %s", self._model, error)
            return None
