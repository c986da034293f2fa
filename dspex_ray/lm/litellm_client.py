"""Every other provider, through litellm. The only file that imports it, and only when a call is made."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from functools import cache, lru_cache
from typing import Any

from dspex_agents.settings import pin_local_price_table
from dspex_ray.errors import (
    ConfigurationError,
    LMBadReplyError,
    LMConnectionError,
    LMContentFilterError,
    LMContextWindowError,
    LMError,
    LMTimeoutError,
)
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.context_window import check_fits
from dspex_ray.lm.dialect import Dialect
from dspex_ray.lm.limits.gate import Pass
from dspex_ray.lm.limits.gates import Gates
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.prices import context_window_of, price_of
from dspex_ray.lm.provider_traits import Traits, marked
from dspex_ray.lm.rate_headers import rate_news
from dspex_ray.lm.retry import Retry, Timing, timed_out
from dspex_ray.lm.wire import error_answer, unless_filtered, usage_of

_LOG = logging.getLogger(__name__)
_BROKEN_JSON = frozenset(
    {"JSONDecodeError", "APIResponseValidationError", "JSONSchemaValidationError", "ValidationError"}
)
_BROKEN_CONNECTION = frozenset(
    {
        "ConnectError",
        "ReadError",
        "WriteError",
        "RemoteProtocolError",
        "ClientConnectorError",
        "ClientPayloadError",
        "ServerDisconnectedError",
        "ConnectionError",
        "ConnectionRefusedError",
        "ConnectionResetError",
    }
)
_NOT_ALLOWED = 401
_NOT_WORTH_ASKING_AGAIN = (400, 422)


class LiteLLMLM:
    """A model of any provider litellm knows, by litellm's name for it, such as `anthropic/claude-sonnet-4-5`.

    litellm reads the provider's key from its own environment variable; `api_key` and `base_url` override it. Its
    retries are off, ours hold. The first call imports litellm (a second or more, outside the call's timeout) with
    the price table it ships; nothing is fetched. Each call costs a few milliseconds of CPU, ten times the direct
    path's. litellm keeps its connections for the whole process, so `aclose` closes none. At most 256 requests are open
    at once on one event loop (or `limits.concurrency`), fewer while the endpoint is overloaded. A prompt that cannot
    fit the window of litellm's table is not sent. The reply's schema goes to models that the table says enforce one, or
    does not know, spelt as the provider takes it; Claude's prompt cache is told where the stable messages end. The
    pickled form holds a given key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        limits: LMLimits | None = None,
        max_attempts: int = 4,
        timing: Timing | None = None,
    ) -> None:
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._context_window = context_window_of(model)
        self._retry = Retry(max_attempts=max_attempts, timing=timing or Timing())
        self._gates = Gates(self._what, limits, self._retry.timing)
        self._dialect: Dialect | None = None  # the provider's, once litellm is loaded

    def __repr__(self) -> str:
        key = "'***'" if self._api_key else None
        return f"LiteLLMLM({self._model!r}, base_url={self._base_url!r}, api_key={key})"

    @property
    def model(self) -> str:
        """The name the user wrote."""
        return self._model

    @property
    def endpoint(self) -> str:
        """The address that answers, where one was given."""
        return self._base_url or ""

    async def complete(self, request: LMRequest) -> LMReply:
        """Answer with the whole reply; errors as `LM` says."""
        await _loaded()
        started = self._retry.timing.clock.monotonic()
        response, leave, attempts = await self._send(request, started, stream=False)
        usage = leave.usage = _usage(response)
        leave.leave()
        choice = response.choices[0] if response.choices else None
        if choice is None:
            msg = f"{self._what} gave a reply without choices."
            raise LMBadReplyError(msg, raw=str(response)[:500], attempts=attempts)
        return self._reply(
            text=choice.message.content or "",
            usage=usage,
            cost_usd=_hidden(response).get("response_cost"),
            latency_s=self._retry.timing.clock.monotonic() - started,
            attempts=attempts,
            finish_reason=choice.finish_reason,
            request_id=response.id,
        )

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        """Answer piece by piece. Retries end with the first piece: a stream cut later is an LMConnectionError."""
        await _loaded()
        started = self._retry.timing.clock.monotonic()
        response, leave, attempts = await self._send(request, started, stream=True)
        pieces: list[str] = []
        finish_reason, request_id, cost_usd = None, None, None
        try:
            while (event := await self._next(response, started, request, attempts)) is not None:
                leave.usage, request_id = _usage(event) or leave.usage, event.id or request_id
                cost_usd = self._cost_of_writes(getattr(event, "usage", None)) or cost_usd
                if not event.choices:
                    continue
                finish_reason = event.choices[0].finish_reason or finish_reason
                if piece := event.choices[0].delta.content:
                    pieces.append(piece)
                    yield LMChunk(delta=piece)
        except BaseException as error:
            leave.leave(error)
            raise
        leave.leave()
        yield LMChunk(
            reply=self._reply(
                text="".join(pieces),
                usage=leave.usage,
                cost_usd=cost_usd,
                latency_s=self._retry.timing.clock.monotonic() - started,
                attempts=attempts,
                finish_reason=finish_reason,
                request_id=request_id,
            )
        )

    async def aclose(self) -> None:
        """Close no connection: litellm's belong to the process."""
        await self._gates.aclose_here()

    @property
    def _what(self) -> str:
        return f"{self._model} at {self._base_url}" if self._base_url else self._model

    async def _send(self, request: LMRequest, started: float, *, stream: bool) -> tuple[Any, Pass, int]:
        """Return litellm's response or stream, the pass of the gate it still holds, and how many requests it took."""
        check_fits(request.messages, self._context_window, self._model)
        traits = _traits(self._model)
        self._dialect = self._dialect or traits.dialect
        clock, tried = self._retry.timing.clock, [self._dialect]

        async def attempt(number: int) -> tuple[Any, Pass, int]:
            left_s = started + request.timeout_s - clock.monotonic()
            leave = await self._gates.here().enter(request, left_s, is_first=number == 1)
            try:
                tried[0] = self._dialect or tried[0]
                body = tried[0].body(self._model, request, stream=stream)
                if traits.marks_cache and request.stable_messages:
                    body["messages"] = marked(body["messages"], request.stable_messages)
                response = await self._call(body, request.timeout_s)
            except BaseException as error:
                leave.leave(error)
                raise
            self._gates.here().heard(rate_news(_hidden(response).get("additional_headers") or {}))
            return response, leave, number

        def adapt(error: LMError) -> bool:
            if error.status not in _NOT_WORTH_ASKING_AGAIN:
                return False
            adapted = tried[0].after_refusal(error.message, request)
            if adapted is None:
                return self._dialect != tried[0]
            self._dialect = adapted
            _LOG.info("%s refuses a part of the protocol and gets %s from now on", self._what, adapted)
            return True

        return await self._retry.run(attempt, timeout_s=request.timeout_s, what=self._what, adapt=adapt)

    async def _call(self, body: dict[str, Any], timeout_s: float) -> Any:
        try:
            return await _litellm().acompletion(
                **body,
                base_url=self._base_url,
                api_key=self._api_key,
                timeout=timeout_s,
                num_retries=0,
                max_retries=0,
                drop_params=True,
            )
        except Exception as error:
            raise self._ours(error) from error

    async def _next(self, response: Any, started: float, request: LMRequest, attempts: int) -> Any | None:
        """Return the next event of a stream, None at its end, within what is left of the request's timeout."""
        left_s = started + request.timeout_s - self._retry.timing.clock.monotonic()
        try:
            async with asyncio.timeout(max(left_s, 0.0)):
                return await anext(response)
        except StopAsyncIteration:
            return None
        except TimeoutError as error:
            raise timed_out(self._what, request.timeout_s, attempts) from error
        except Exception as error:
            raise self._ours(error) from error

    def _cost_of_writes(self, usage: Any) -> float | None:
        """Return what a stream cost in US dollars if it wrote to the provider's prompt cache, which costs extra."""
        if not getattr(usage, "cache_creation_input_tokens", None) or price_of(self._model) is None:
            return None
        prompt_usd, completion_usd = _litellm().cost_per_token(model=self._model, usage_object=usage)
        return float(prompt_usd + completion_usd)

    def _reply(
        self,
        *,
        text: str,
        usage: Usage | None,
        latency_s: float,
        attempts: int,
        finish_reason: str | None,
        request_id: str | None,
        cost_usd: float | None = None,
    ) -> LMReply:
        price = price_of(self._model)
        if cost_usd is None and price and usage:
            cost_usd = price.cost_usd(usage)
        reply = LMReply(
            text=text,
            model=self._model,
            usage=usage or Usage(),
            cost_usd=cost_usd,
            latency_s=latency_s,
            attempts=attempts,
            finish_reason=finish_reason or "stop",
            request_id=request_id,
        )
        return unless_filtered(reply, self._what)

    def _ours(self, error: Exception) -> LMError | ConfigurationError:
        """Return our error for whatever litellm raised: by what caused it first, since its own classes blur that."""
        names = {type(cause).__name__ for cause in _causes(error)}
        said = str(error)[:500]
        if names & _BROKEN_JSON:
            return LMBadReplyError(f"{self._what} gave a reply that is not the protocol: {said}", raw=said)
        if names & _BROKEN_CONNECTION:
            advice = "Check that the endpoint runs and that the address is right; calling again may succeed."
            return LMConnectionError(f"No connection to {self._what}, or one cut in the middle: {said} {advice}")
        if "Timeout" in names or "APITimeoutError" in names:
            return LMTimeoutError(f"{self._what} gave no answer in time: {said}")
        if "ContextWindowExceededError" in names:
            return LMContextWindowError(f"The prompt does not fit {self._what}: {said}", status=400)
        if "ContentPolicyViolationError" in names:
            return LMContentFilterError(f"The content filter of {self._what} refuses this: {said}", status=400)
        status = getattr(error, "status_code", None)
        if status == _NOT_ALLOWED and self._api_key is None and (missing := self._missing_keys()):
            return ConfigurationError(f"{self._what} needs an API key, and the environment does not set {missing}.")
        if not isinstance(status, int):
            return LMError(f"litellm could not call {self._what}: {type(error).__name__}: {said}")
        headers = getattr(error, "litellm_response_headers", None) or {}
        body = next((b for cause in _causes(error) if isinstance(b := getattr(cause, "body", None), dict)), None)
        raw = said if body is None else json.dumps({"error": body}, default=str)
        return error_answer(status, raw.encode(), headers, self._what)

    def _missing_keys(self) -> str:
        """Return the variables of the provider's keys that are not set; nothing if one is, or litellm knows none."""
        return ", ".join(_litellm().validate_environment(self._model)["missing_keys"])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from, at most a dozen deep."""
    for _ in range(12):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _hidden(response: Any) -> dict[str, Any]:
    """Return what litellm keeps of an answer beside it: its cost, the provider's headers."""
    hidden = getattr(response, "_hidden_params", None)
    return hidden if isinstance(hidden, dict) else {}


def _usage(response: Any) -> Usage | None:
    usage = getattr(response, "usage", None)
    return None if usage is None else usage_of(usage.model_dump())


async def _loaded() -> None:
    """Import litellm off the event loop, so that other calls on it go on meanwhile."""
    if not _litellm.cache_info().currsize:
        await asyncio.to_thread(_litellm)


@lru_cache(maxsize=256)
def _traits(model: str) -> Traits:
    """Return what litellm knows of a model's provider; nothing is asked of it."""
    litellm = _litellm()
    try:
        provider = litellm.get_llm_provider(model)[1]
    except litellm.exceptions.BadRequestError:
        provider = ""
    try:
        known: dict[str, Any] = litellm.get_model_info(model)
    except Exception:  # noqa: BLE001 - litellm raises a bare Exception for a model that its table does not hold
        return Traits.of(provider, model, takes_schema=True, caches=True)
    schema, caches = litellm.supports_response_schema(model), bool(known.get("supports_prompt_caching"))
    return Traits.of(provider, model, takes_schema=schema, caches=caches)


@cache
def _litellm() -> Any:
    pin_local_price_table()
    import litellm  # noqa: PLC0415 - a second of import, only for those who need it

    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(
        logging.ERROR
    )  # it warns at each new event loop; failures reach the caller anyway
    return litellm
