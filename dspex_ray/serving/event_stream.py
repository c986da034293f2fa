"""`EventStream`: server-sent events (HTML standard, section 9.2) as they come, over ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dspex_ray.serving.base import ServingLimits
from dspex_ray.serving.exchanges import ANSWERED, CLIENT_LEFT
from dspex_ray.serving.problem import Problem

MEDIA_TYPE = "text/event-stream"
Event = tuple[str, Mapping[str, Any]]

_HEARTBEAT = b": still here\n\n"
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class EventStream(Response):
    """An answer of events, each a name and its JSON. It is to be called once.

    An error before the first event or heartbeat becomes an answer of its own, by `refused`; a later one an event
    `error` with the same problem. The source is closed when it ends, fails or the client leaves, and has the limits'
    `request_timeout_s` in all. `ended` is told last, and in any case, with status and code of what came of it.
    """

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        *,
        request_id: str,
        headers: Mapping[str, str],
        problem_of: Callable[[Exception], Problem],
        refused: Callable[[Problem], Response],
        ended: Callable[[int, str | None], None],
        limits: ServingLimits,
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE, headers={"cache-control": "no-store", **headers})
        del self.headers["content-length"]
        self._events, self._request_id, self._problem_of, self._refused = events, request_id, problem_of, refused
        self._timeout_s, self._heartbeat_s = limits.request_timeout_s, limits.heartbeat_s
        self._ended = ended
        self._end: tuple[int, str | None] = CLIENT_LEFT
        self._begun = False
        self._lock = asyncio.Lock()  # a heartbeat does not fall into an event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client leaves."""
        sending = asyncio.create_task(self._send_all(scope, receive, send))
        others = [asyncio.create_task(_left(receive)), asyncio.create_task(self._beat(send))]
        try:
            await asyncio.wait({sending, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, *others):
                task.cancel()
            try:
                await asyncio.gather(sending, *others, return_exceptions=True)
            finally:
                self._ended(*self._end)
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        failed: Problem | None = None
        try:
            async with asyncio.timeout(self._timeout_s), aclosing(self._events):
                async for name, data in self._events:
                    await self._send(send, _event(name, data))
            self._end = ANSWERED
        except Exception as error:  # noqa: BLE001 - the HTTP boundary: whatever a program raises is answered here
            failed = self._problem_of(error)
            self._end = failed.status, failed.code
        async with self._lock:
            if failed is not None and not self._begun:
                await self._refused(failed)(scope, receive, send)
                return
        if failed is not None:
            await self._send(send, _event("error", failed.as_json(self._request_id)))
        await self._send(send, b"", more=False)

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self._send(send, _HEARTBEAT)

    async def _send(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with self._lock:
            if not self._begun:
                self._begun = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {_ENCODER.encode(data)}\n\n".encode()
