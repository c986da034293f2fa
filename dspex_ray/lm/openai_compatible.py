"""The direct path: any endpoint that speaks OpenAI's chat format, over one pool of kept-alive connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp

from dspex_ray.errors import ConfigurationError, LMError
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.context_window import check_fits
from dspex_ray.lm.dialect import Dialect
from dspex_ray.lm.encoded_body import encoded_body
from dspex_ray.lm.limits.gate import ModelGate, Pass
from dspex_ray.lm.limits.gates import Gates
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.prices import Price, context_window_of
from dspex_ray.lm.rate_headers import rate_news
from dspex_ray.lm.retry import Retry, Timing, timed_out
from dspex_ray.lm.transport_errors import as_ours, cut
from dspex_ray.lm.wire import (
    EventReader,
    WireReply,
    add_event,
    error_answer,
    read_completion,
    unless_filtered,
)

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the deadline is Retry's, over all attempts
_HOST_THAT_NEEDS_A_KEY = "api.openai.com"
_COMPLAINTS = (400, 422)
_KEEP_ALIVE_S = 30.0


@dataclass(slots=True, eq=False)
class _Call:
    """What the attempts of one call have in common; `tried` is the dialect of the last one."""

    request: LMRequest
    started: float
    tried: Dialect


class OpenAICompatibleLM:
    """A model behind `POST {base_url}/chat/completions`: OpenAI, vLLM, Ollama, llama.cpp, a gateway.

    `model` is the name the user wrote, `wire_model` the one the endpoint knows. Without `price` a reply's `cost_usd` is
    None. At most 256 requests are open at once on one event loop (or `limits.concurrency`), fewer while the endpoint is
    overloaded; more wait, within their timeout. A prompt that cannot fit the model's window is not sent. An
    optional part of the protocol that the endpoint refuses (JSON Schema, stream usage, `max_tokens`, sampling for
    reasoning models) is dropped for good, with a log line. The pickled form holds the key: it goes to workers that
    call the model. Proxy variables of the environment are not read. Raises ConfigurationError for a URL that is not
    plain http(s) and for OpenAI's own address without a key.
    """

    def __init__(
        self,
        model: str,
        *,
        wire_model: str,
        base_url: str,
        api_key: str | None,
        price: Price | None,
        limits: LMLimits | None = None,
        max_attempts: int = 4,
        timing: Timing | None = None,
    ) -> None:
        self._model = model
        self._wire_model = wire_model
        self._base_url = _checked_url(base_url)
        self._url = f"{self._base_url}/chat/completions"
        self._what = f"{model} at {self._base_url}"  # the subject of an error sentence
        if not api_key and urlsplit(self._base_url).hostname == _HOST_THAT_NEEDS_A_KEY:
            msg = (
                f"{model} needs an API key: set the environment variable OPENAI_API_KEY. For an endpoint of your own "
                "set OPENAI_BASE_URL; to try things out without a key use the model embedded/nearest."
            )
            raise ConfigurationError(msg)
        self._api_key = api_key
        self._price = price
        self._context_window = context_window_of(model)
        self._retry = Retry(max_attempts=max_attempts, timing=timing or Timing())
        self._gates = Gates(self._what, limits, self._retry.timing)
        self._dialect = Dialect()
        self._sessions = WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]()

    def __repr__(self) -> str:
        key = "'***'" if self._api_key else None
        return f"OpenAICompatibleLM({self._model!r}, base_url={self._base_url!r}, api_key={key})"

    @property
    def price(self) -> Price | None:
        """What its tokens cost, None when that is not known; budgets reserve by it."""
        return self._price

    @property
    def endpoint(self) -> str:
        """The address that answers; the same model may answer otherwise elsewhere."""
        return self._base_url

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but the connections."""
        return {name: value for name, value in vars(self).items() if name != "_sessions"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore with no connection open."""
        vars(self).update(state, _sessions=WeakKeyDictionary())

    @property
    def model(self) -> str:
        """The name the user wrote."""
        return self._model

    async def complete(self, request: LMRequest) -> LMReply:
        """Answer with the whole reply; errors as `LM` says."""
        return unless_filtered(await self._tried(self._answered, self._begun(request)), self._what)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        """Answer piece by piece. Retries end with the first byte: a stream cut later is an LMConnectionError."""
        call = self._begun(request)
        response, leave, attempts = await self._tried(self._opened, call)
        answer = WireReply()
        try:
            async with response:
                reader = EventReader(self._what)
                while chunk := await self._read(response, call, attempts):
                    for data in reader.feed(chunk):
                        if piece := add_event(answer, data, self._what):
                            yield LMChunk(delta=piece)
            leave.usage = answer.usage
            reply = unless_filtered(self._streamed(answer, response, call.started, attempts), self._what)
        except BaseException as error:
            leave.leave(error)
            raise
        leave.leave()
        yield LMChunk(reply=reply)

    async def aclose(self) -> None:
        """Close the connections of the running loop. Calling it twice is harmless."""
        await self._gates.aclose_here()
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def _begun(self, request: LMRequest) -> _Call:
        check_fits(request.messages, self._context_window, self._model)
        return _Call(request, self._retry.timing.clock.monotonic(), self._dialect)

    def _tried(self, attempt: Callable[[_Call, int], Awaitable[_T]], call: _Call) -> Awaitable[_T]:
        """Return what an attempt gives; tried as `Retry` says."""
        return self._retry.run(
            partial(attempt, call),
            timeout_s=call.request.timeout_s,
            what=self._what,
            adapt=partial(self._adapt, call),
        )

    async def _answered(self, call: _Call, number: int) -> LMReply:
        """Ask once and read the whole reply."""
        gate = self._gates.here()
        leave = await gate.enter(call.request, self._left_s(call), is_first=number == 1)
        try:
            async with await self._send(call, gate, stream=False) as response:
                raw = await response.read()
            answer = read_completion(raw, self._what)
            leave.usage = answer.usage
            reply = self._reply(answer, response, call.started, number)
        except BaseException as error:
            ours = as_ours(error, self._what)
            leave.leave(ours)
            if ours is error:
                raise
            raise ours from error
        leave.leave()
        return reply

    async def _opened(self, call: _Call, number: int) -> tuple[aiohttp.ClientResponse, Pass, int]:
        """Ask once and return the stream that begins, with its pass and the number of the attempt."""
        gate = self._gates.here()
        leave = await gate.enter(call.request, self._left_s(call), is_first=number == 1)
        try:
            return await self._send(call, gate, stream=True), leave, number
        except BaseException as error:
            ours = as_ours(error, self._what)
            leave.leave(ours)
            if ours is error:
                raise
            raise ours from error

    async def _send(self, call: _Call, gate: ModelGate, *, stream: bool) -> aiohttp.ClientResponse:
        """Send the request and return the response whose status is 200. Raises the LMError of any other status."""
        call.tried = self._dialect
        body = encoded_body(call.tried, self._wire_model, call.request, stream=stream)
        response = await self._session().post(self._url, data=body, allow_redirects=False)
        if response.status == 200:  # noqa: PLR2004 - HTTP's own number
            gate.heard(rate_news(response.headers))
            return response
        async with response:
            raw = await response.read()
        raise error_answer(response.status, raw, response.headers, self._what)

    async def _read(self, response: aiohttp.ClientResponse, call: _Call, attempts: int) -> bytes:
        """Return the next bytes of a stream, empty at its end, within what is left of the request's timeout."""
        try:
            async with asyncio.timeout(max(self._left_s(call), 0.0)):
                return await response.content.readany()
        except TimeoutError as error:
            raise timed_out(self._what, call.request.timeout_s, attempts) from error
        except (aiohttp.ClientError, OSError) as error:
            raise as_ours(error, self._what) from error

    def _left_s(self, call: _Call) -> float:
        return call.started + call.request.timeout_s - self._retry.timing.clock.monotonic()

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            self._forget_closed_loops()
            headers = {"Content-Type": "application/json"}
            if self._api_key:
                headers["Authorization"] = f"Bearer {self._api_key}"
            connector = aiohttp.TCPConnector(limit=self._gates.ceiling, keepalive_timeout=_KEEP_ALIVE_S)
            jar = aiohttp.DummyCookieJar()  # an API call needs no cookies
            session = aiohttp.ClientSession(connector=connector, timeout=_NO_TIMEOUT, headers=headers, cookie_jar=jar)
            self._sessions[loop] = session
        return session

    def _forget_closed_loops(self) -> None:
        for reference in self._sessions.keyrefs():  # a list, so other threads may add to it meanwhile
            loop = reference()
            session = self._sessions.pop(loop, None) if loop is not None and loop.is_closed() else None
            if session is not None:
                session.detach()  # its connections ended with its loop

    def _adapt(self, call: _Call, error: LMError) -> bool:
        """Drop what the endpoint refuses and return whether the request should be sent again at once."""
        if error.status not in _COMPLAINTS:
            return False
        if self._dialect != call.tried:  # a concurrent call has learnt something meanwhile
            return True
        adapted = call.tried.after_refusal(error.message, call.request)
        if adapted is None:
            return False
        self._dialect = adapted
        _LOG.info("%s refuses a part of the protocol and gets %s from now on: %s", self._what, adapted, error.message)
        return True

    def _reply(self, answer: WireReply, response: aiohttp.ClientResponse, started: float, attempts: int) -> LMReply:
        usage = answer.usage
        return LMReply(
            text=answer.text,
            model=self._model,
            usage=usage or Usage(),
            cost_usd=self._price.cost_usd(usage) if self._price and usage else None,
            latency_s=self._retry.timing.clock.monotonic() - started,
            attempts=attempts,
            finish_reason=answer.finish_reason or "stop",
            request_id=response.headers.get("x-request-id") or answer.request_id,
        )

    def _streamed(self, answer: WireReply, response: aiohttp.ClientResponse, started: float, attempts: int) -> LMReply:
        """Return the reply of a stream that has ended; LMConnectionError if it did not say that it was finished."""
        if not answer.done and answer.finish_reason is None:
            raise cut(
                self._what, f"the stream ended after {len(answer.text)} characters without saying it was finished"
            )
        return self._reply(answer, response, started, attempts)


def _checked_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = f"base_url {base_url!r} is no http(s) address; it looks like http://127.0.0.1:8000/v1"
        raise ConfigurationError(msg)
    if parts.username or parts.password or parts.query or parts.fragment:
        msg = f"base_url for {parts.hostname} holds a password, query or fragment; give the key as api_key instead"
        raise ConfigurationError(msg)
    return base_url.rstrip("/")
