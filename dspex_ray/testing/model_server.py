"""A simulated model server: real HTTP and OpenAI's wire format, with chosen answers, latencies and faults.

In a test: `with ModelServer(answer=["yes"]) as server:` and use `server.base_url`. As a process of its own:
`python -m dspex_ray.testing.model_server --port 8000 --answer nearest` prints one line of JSON with its `url`.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import signal
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self, get_args

from aiohttp import web

from dspex_ray.errors import ConfigurationError
from dspex_ray.testing.model_answers import (
    Answer,
    RefusedRequestError,
    checked_body,
    completion,
    events,
    prompt_tokens,
    refuse_unsupported,
    request_id_header,
    rule_of,
    wrong_key,
)
from dspex_ray.testing.model_counts import ModelCounts
from dspex_ray.testing.model_faults import Fault, Faults, LogNormalLatency, Weather

_START_S = 10.0
_LARGEST_REQUEST = 16 << 20
_DRIPS = 10
WRONG_USAGE = {"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": None}
"""What the fault `wrong_usage` sends for the usage of an answer."""


class ModelServer:
    """One simulated model behind `/v1/chat/completions`, `/v1/models` and `/counters`, on 127.0.0.1.

    `answer` is a rule (see `rule_of`); `weather` says what goes wrong and how long answers take; with `api_key` any
    other key gets 401; a prompt of more than `context_window` tokens gets 400 `context_length_exceeded`; parts of the
    protocol in `refuses` get 400 (see `refuse_unsupported`); `headers` go with each reply. Port 0 takes a free one.
    Entering starts the server in a thread of its own, leaving stops it and ends requests that hang. Raises
    ConfigurationError for a port in use.
    """

    def __init__(
        self,
        *,
        answer: Answer = "echo",
        weather: Weather | None = None,
        api_key: str | None = None,
        models: Sequence[str] = ("simulated",),
        context_window: int | None = None,
        refuses: Collection[str] = (),
        headers: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self._rule = rule_of(answer)
        self._weather = weather or Weather()
        self._api_key = api_key
        self._models = tuple(models)
        self._context_window = context_window
        self._refuses = frozenset(refuses)
        self._headers = dict(headers or {})
        self._port = port
        self._counts = ModelCounts()
        self._bodies: list[dict[str, Any]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """The address a client is given, such as http://127.0.0.1:41234/v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def last_body(self) -> dict[str, Any]:
        """The body of the last chat request that was one. Raises IndexError before the first."""
        return self._bodies[-1]

    def counters(self) -> dict[str, Any]:
        """Return what was counted; see `ModelCounts`."""
        return self._counts.as_json()

    def start(self) -> None:
        """Serve in a thread of its own; returns once the port listens."""
        listening: Future[int] = Future()
        self._thread = threading.Thread(target=self._serve, args=(listening,), name="model-server", daemon=True)
        self._thread.start()
        self._port = listening.result(timeout=_START_S)

    def stop(self) -> None:
        """Stop serving and wait for the thread to end. Calling it twice is harmless."""
        if self._thread is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=_START_S)
        self._thread = None

    def _serve(self, listening: Future[int]) -> None:
        try:
            asyncio.run(self._run(listening))
        except OSError as error:
            msg = (
                f"Port {self._port} of 127.0.0.1 cannot be used ({error.strerror}). Choose another or 0 for a free one."
            )
            listening.set_exception(ConfigurationError(msg))

    async def _run(self, listening: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=_LARGEST_REQUEST)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/counters", self._show_counters)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port, backlog=4096).start()
            listening.set_result(runner.addresses[0][1])
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _list_models(self, request: web.Request) -> web.Response:
        if not self._allowed(request.headers):
            return self._error(wrong_key())
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "dspex_ray"} for name in self._models]
        return web.json_response({"object": "list", "data": rows})

    async def _show_counters(self, _: web.Request) -> web.Response:
        return web.json_response(self.counters())

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        with self._counts.request(peer) as number:
            try:
                return await self._answer(request, number)
            except RefusedRequestError as error:
                return self._error(error)
            except (asyncio.CancelledError, ConnectionError):
                self._counts.abandoned()
                raise

    async def _answer(self, request: web.Request, number: int) -> web.StreamResponse:
        fault, latency_s = self._weather.of(number)
        body = self._checked(request, await request.read())
        self._bodies = [*self._bodies[-99:], body]
        if fault == "hang":
            await self._stop.wait()
            raise RefusedRequestError("The server is shutting down.", status=503)
        if latency_s:
            await asyncio.sleep(latency_s)
        if fault == "429":
            refused = RefusedRequestError("Rate limit reached.", status=429, code="rate_limit_exceeded")
            wait_s = self._weather.faults.retry_after_s
            return self._error(refused, None if wait_s is None else {"Retry-After": f"{wait_s:g}"})
        if fault == "500":
            raise RefusedRequestError("The server had an error.", status=500, code="server_error")
        if fault == "filtered":
            raise RefusedRequestError("The prompt was filtered.", code="content_filter")
        text = "" if fault == "withheld" else self._text(body)
        send = self._send_stream if body.get("stream") else self._send_whole
        return await send(request, number, body, text, fault)

    def _text(self, body: Mapping[str, Any]) -> str:
        try:
            return self._rule(body["messages"], body)
        except RefusedRequestError:
            raise
        except Exception as error:
            raise RefusedRequestError(f"The rule raised {error!r}.", status=500, code="server_error") from error

    def _checked(self, request: web.Request, raw: bytes) -> dict[str, Any]:
        if not self._allowed(request.headers):
            raise wrong_key()
        body = checked_body(raw)
        refuse_unsupported(body, self._refuses)
        tokens = prompt_tokens(body["messages"])
        if self._context_window is not None and tokens > self._context_window:
            message = (
                f"This model's maximum context length is {self._context_window} tokens; the messages have {tokens}."
            )
            raise RefusedRequestError(message, code="context_length_exceeded")
        return body

    async def _send_whole(
        self, request: web.Request, number: int, body: Mapping[str, Any], text: str, fault: Fault
    ) -> web.StreamResponse:
        answer = completion(number, body, text, _ended(fault))
        usage = answer["usage"]
        if fault == "no_choices":
            self._counts.status(200)
            return web.json_response({**answer, "choices": []})
        if fault == "wrong_usage":
            answer["usage"] = WRONG_USAGE
        payload = json.dumps(answer).encode()
        if fault == "malformed":
            self._counts.status(200)
            return web.Response(body=payload[: len(payload) // 2], content_type="application/json")
        if fault == "cut":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = len(payload)
            await response.prepare(request)
            await response.write(payload[: len(payload) // 2])
            return self._break(request, response)
        if fault == "slow":
            response = web.StreamResponse(
                headers={"Content-Type": "application/json", **request_id_header(number), **self._headers}
            )
            response.content_length = len(payload)
            await response.prepare(request)
            await self._drip(response, payload[:-1])
            self._counts.answered(usage)  # before the client can have all of it
            await response.write_eof(payload[-1:])
            return response
        self._counts.answered(usage)
        return web.Response(
            body=payload, content_type="application/json", headers=request_id_header(number) | self._headers
        )

    async def _send_stream(
        self, request: web.Request, number: int, body: Mapping[str, Any], text: str, fault: Fault
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", **request_id_header(number), **self._headers}
        )
        await response.prepare(request)
        for position, event in enumerate(events(number, body, text, _ended(fault))):
            if position == 2 and fault == "cut":  # noqa: PLR2004 - after the role and the first piece
                return self._break(request, response)
            if fault == "wrong_usage" and "usage" in event:
                event["usage"] = WRONG_USAGE
            data = "{broken" if position == 1 and fault == "malformed" else json.dumps(event)
            payload = f"data: {data}\n\n".encode()
            drips = position == 2 and fault == "slow"  # noqa: PLR2004 - from the second piece on
            await (self._drip(response, payload) if drips else response.write(payload))
        if fault == "malformed":
            self._counts.status(200)
        else:
            self._counts.answered(completion(number, body, text)["usage"])
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _drip(self, response: web.StreamResponse, payload: bytes) -> None:
        """Send a body in pieces, spread over the weather's `slow_s`, cut in the middle of words."""
        pieces = [
            payload[at : at + 1 + len(payload) // _DRIPS] for at in range(0, len(payload), 1 + len(payload) // _DRIPS)
        ]
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(self._weather.faults.slow_s / len(pieces))

    def _break(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Close the connection under an answer that is not finished."""
        self._counts.status(200)
        if request.transport is not None:
            request.transport.close()  # what is written already is still sent, so the client sees half an answer
        return response

    def _error(self, error: RefusedRequestError, headers: Mapping[str, str] | None = None) -> web.Response:
        self._counts.status(error.status)
        return web.json_response(error.as_wire(), status=error.status, headers=headers)

    def _allowed(self, headers: Mapping[str, str]) -> bool:
        given = headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return self._api_key is None or hmac.compare_digest(given, f"Bearer {self._api_key}".encode())


def _ended(fault: Fault) -> str:
    """Return why an answer ended, in OpenAI's words."""
    return "content_filter" if fault == "withheld" else "stop"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Prints one line of JSON with `url` and `pid` once the port listens."""
    options = _parser().parse_args(arguments)
    latency: float | LogNormalLatency = options.latency_s
    if options.sigma:
        latency = LogNormalLatency(median_s=options.latency_s, sigma=options.sigma)
    rates = {name: value for name, value in vars(options).items() if name.startswith("rate_")}
    faults = Faults(retry_after_s=options.retry_after_s, **rates)
    weather = Weather(seed=options.seed, latency=latency, faults=faults)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the thread starts, so that only sigwait takes them
    try:
        with ModelServer(answer=options.answer, weather=weather, port=options.port) as server:
            sys.stdout.write(json.dumps({"url": server.base_url, "pid": os.getpid()}) + "\n")
            sys.stdout.flush()
            signal.sigwait(signals)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dspex_ray.testing.model_server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--answer", choices=["echo", "nearest"], default="echo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency-s", type=float, default=0.0, help="fixed, or the median when --sigma is given")
    parser.add_argument("--sigma", type=float, default=0.0, help="log-normal latency with this sigma")
    parser.add_argument("--retry-after-s", type=float, default=1.0)
    for name in sorted(set(get_args(Fault)) - {"ok"}):
        parser.add_argument(f"--rate-{name.replace('_', '-')}", type=float, default=0.0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
