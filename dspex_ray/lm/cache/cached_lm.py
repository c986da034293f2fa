"""`CachedLM`: a model whose equal requests are answered once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from dspex_agents.clock import Clock, SystemClock
from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest
from dspex_ray.lm.cache.base import CachedReply, ReplyCache
from dspex_ray.lm.cache.disk import DiskCache
from dspex_ray.lm.cache.key import request_key
from dspex_ray.lm.cache.memory import MemoryCache
from dspex_ray.lm.cache.settings import CacheSettings
from dspex_ray.lm.prices import Price

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Flight:
    """A call under way, and how many wait for it."""

    task: asyncio.Task[LMReply]
    waiting: int = 0


class CachedLM:
    """Answers from memory, else from the shared cache, else by the model; failures are not kept.

    Equal requests at the same time are one call: the first pays, the others' replies are marked as cached. A call
    ends early only when nobody waits for it any more. `memory` may be shared with earlier clients. Without a folder to
    be had the log says so, and replies are kept in memory alone. Pickles with its settings; each process has its own
    memory.
    """

    def __init__(
        self, lm: LM, settings: CacheSettings, *, memory: MemoryCache | None = None, clock: Clock | None = None
    ) -> None:
        self._lm, self._settings, self._clock = lm, settings, clock or SystemClock()
        self._memory = memory if memory is not None else MemoryCache(settings.memory_bytes)
        self._shared = _folder(settings) if settings.kind == "disk" else None
        self._flights: dict[str, _Flight] = {}

    @property
    def model(self) -> str:
        """The model's name."""
        return self._lm.model

    @property
    def price(self) -> Price | None:
        """What the model's tokens cost, where the client says."""
        price = getattr(self._lm, "price", None)
        return price if isinstance(price, Price) else None

    async def complete(self, request: LMRequest) -> LMReply:
        """Answer the request. Raises what the model raises."""
        key = self._key(request)
        kept = self._memory.get(key)
        if kept is not None:
            return kept.reply()
        flight, is_first = self._flights.get(key), False
        if flight is None:
            flight, is_first = _Flight(asyncio.get_running_loop().create_task(self._fetch(key, request))), True
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        flight.waiting += 1
        try:
            reply = await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                flight.task.cancel()
        return reply if is_first or reply.cached else _shared(reply)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        """Answer piece by piece; a kept reply comes as one piece."""
        key = self._key(request)
        kept = await self._find(key)
        if kept is not None:
            yield LMChunk(delta=kept.text)
            yield LMChunk(reply=kept.reply())
            return
        async for chunk in self._lm.stream(request):
            if chunk.reply is not None:
                await self._keep(key, request, chunk.reply)
            yield chunk

    async def aclose(self) -> None:
        """Close the model's connections; what is kept stays."""
        await self._lm.aclose()

    def _key(self, request: LMRequest) -> str:
        return request_key(self.model, getattr(self._lm, "endpoint", ""), request)

    async def _fetch(self, key: str, request: LMRequest) -> LMReply:
        kept = await self._find(key)
        if kept is not None:
            return kept.reply()
        reply = await self._lm.complete(request)
        await self._keep(key, request, reply)
        return reply

    async def _find(self, key: str) -> CachedReply | None:
        kept = self._memory.get(key)
        if kept is None and self._shared is not None:
            kept = await asyncio.to_thread(self._shared.get, key)  # a folder may be far away
            if kept is not None:
                self._memory.put(kept)
        return kept

    async def _keep(self, key: str, request: LMRequest, reply: LMReply) -> None:
        kept = CachedReply.of(key, request, reply, self._clock.now())
        self._memory.put(kept)
        if self._shared is not None:
            await asyncio.to_thread(self._shared.put, kept)

    def _landed(self, key: str, flight: _Flight) -> None:
        del self._flights[key]
        if not flight.task.cancelled():
            flight.task.exception()  # whoever waited may have gone

    def __getstate__(self) -> tuple[LM, CacheSettings, Clock]:
        return self._lm, self._settings, self._clock

    def __setstate__(self, state: tuple[LM, CacheSettings, Clock]) -> None:
        lm, settings, clock = state
        CachedLM.__init__(self, lm, settings, clock=clock)

    def __repr__(self) -> str:
        return f"CachedLM({self._lm!r}, {self._settings.kind})"


def _folder(settings: CacheSettings) -> ReplyCache | None:
    try:
        return DiskCache(settings.path, settings.disk_bytes)
    except ConfigurationError as error:  # a container with a read-only file system must work all the same
        _LOG.warning("%s Until then replies are kept in memory alone.", error)
        return None


def _shared(reply: LMReply) -> LMReply:
    """Return the reply of another one's call, which is on that one's bill."""
    return LMReply(
        text=reply.text,
        model=reply.model,
        cost_usd=0.0,
        latency_s=reply.latency_s,
        attempts=0,
        finish_reason=reply.finish_reason,
        request_id=reply.request_id,
        cached=True,
        spared=reply.usage,
    )
