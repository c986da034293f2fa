"""A client's gates, one for each event loop that uses it; pickles without them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from dspex_agents.ids import RandomIds
from dspex_ray.lm.limits.allowance import Allowance
from dspex_ray.lm.limits.gate import ModelGate
from dspex_ray.lm.limits.lender import SHARED_LENDER, OwnLender
from dspex_ray.lm.limits.places import Places
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.retry import Timing

MOST_OPEN: Final = 256
"""Requests a client opens at once on one event loop when no limit says otherwise."""
_IDS: Final = RandomIds()


@dataclass(frozen=True, slots=True)
class _Made:
    what: str
    limits: LMLimits
    timing: Timing


class Gates:
    """Makes the gate of a loop at its first call. With limits it asks the process's shared lender, if there is one.

    Clients that name the same `what` (a model and where it is) share limits there.
    """

    def __init__(self, what: str, limits: LMLimits | None, timing: Timing) -> None:
        self._made = _Made(what, limits or LMLimits(), timing)
        self._gates = WeakKeyDictionary[asyncio.AbstractEventLoop, ModelGate]()

    @property
    def ceiling(self) -> int:
        """How many requests may be open at once on one loop, at best."""
        return self._made.limits.concurrency or MOST_OPEN

    def here(self) -> ModelGate:
        """Return the gate of the running loop."""
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = self._new()
        return gate

    async def aclose_here(self) -> None:
        """End what the gate of the running loop does beside the calls."""
        gate = self._gates.pop(asyncio.get_running_loop(), None)
        if gate is not None:
            await gate.aclose()

    def _new(self) -> ModelGate:
        made, limits = self._made, self._made.limits
        is_shared = SHARED_LENDER.is_there
        lender = SHARED_LENDER if is_shared else OwnLender(made.timing.clock)
        holder = _IDS.new("holder")
        allowance = Allowance(made.what, limits, holder, lender, made.timing) if limits.rated else None
        places = None
        if limits.concurrency is not None and is_shared:
            places = Places(made.what, limits, holder, lender, self.ceiling)
        return ModelGate(made.what, self.ceiling, made.timing, allowance=allowance, places=places)

    def __getstate__(self) -> _Made:
        return self._made

    def __setstate__(self, made: _Made) -> None:
        self._made, self._gates = made, WeakKeyDictionary()
