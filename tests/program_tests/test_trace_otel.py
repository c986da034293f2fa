"""Spans by OpenTelemetry's own provider, and how tracing is configured."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from dspex_agents.settings import Settings
from dspex_ray.calls import recorded_call
from dspex_ray.configuration import configure
from dspex_ray.errors import ConfigurationError, LMTimeoutError
from dspex_ray.lm.base import ChatMessage, LMReply, LMRequest, Usage
from dspex_ray.tracing import current_traceparent, flush, span, tool_span, within_trace
from dspex_ray.tracing.process import PROCESS, ProcessTracing
from dspex_ray.tracing.settings import TracingSettings, checked_tracing

REQUEST = LMRequest(messages=(ChatMessage("user", "Hello?"),))
HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Model:
    model = "mistral/small"

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    async def complete(self, request: LMRequest) -> LMReply:
        if self.fails:
            raise LMTimeoutError("no answer to Hello?")
        return LMReply(text="yes", model=self.model, usage=Usage(prompt_tokens=3, completion_tokens=1))

    def stream(self, request: LMRequest) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        return


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    yield made
    configure(tracing=None)


def call(*, fails: bool = False) -> None:
    asyncio.run(recorded_call(Model(fails=fails), REQUEST, "m:P"))


def test_spans_go_to_the_provider_that_is_given_without_what_was_said(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    configure(tracing=provider)
    with span("agent", "task-1"):
        call()
    chat, agent = exporter.get_finished_spans()
    assert (chat.name, agent.name) == ("chat small", "invoke_agent task-1")
    assert chat.parent is not None
    assert chat.parent.span_id == agent.context.span_id
    assert chat.kind is otel.SpanKind.CLIENT
    told = dict(chat.attributes or {})
    assert (told["gen_ai.provider.name"], told["gen_ai.usage.input_tokens"]) == ("mistral_ai", 3)
    assert "gen_ai.input.messages" not in told


def test_what_was_said_is_sent_where_the_user_wants_it(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    configure(tracing=provider, content=True)
    call()
    (chat,) = exporter.get_finished_spans()
    assert "Hello?" in str((chat.attributes or {})["gen_ai.input.messages"])


def test_spans_of_the_users_own_are_of_one_tree_with_ours(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    configure(tracing=provider)
    own = provider.get_tracer("mine")
    with own.start_as_current_span("outer"), tool_span("look_up"), own.start_as_current_span("inner"):
        call()
    chat, inner, tool, outer = exporter.get_finished_spans()
    assert [one.parent and one.parent.span_id for one in (chat, inner, tool, outer)] == [
        inner.context.span_id,
        tool.context.span_id,
        outer.context.span_id,
        None,
    ]


def test_a_span_goes_on_with_the_trace_a_message_came_with(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    configure(tracing=provider)
    with within_trace(HEADER), span("agent", "task-1"):
        header = current_traceparent()
    (agent,) = exporter.get_finished_spans()
    assert agent.parent is not None
    assert agent.parent.is_remote
    assert f"{agent.context.trace_id:032x}" == HEADER[3:35]
    assert header == f"00-{HEADER[3:35]}-{agent.context.span_id:016x}-01"


def test_a_failure_is_the_status_of_the_span_and_its_text_stays_out_without_content(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    configure(tracing=provider)
    with pytest.raises(LMTimeoutError):
        call(fails=True)
    (chat,) = exporter.get_finished_spans()
    assert chat.status.status_code is otel.StatusCode.ERROR
    assert chat.status.description is None
    assert (chat.attributes or {})["error.type"] == "LMTimeoutError"
    assert not chat.events


def test_a_trace_that_is_not_sampled_says_so_to_those_it_asks() -> None:
    configure(tracing=TracerProvider(sampler=ALWAYS_OFF))
    try:
        with span("agent", "task-1"):
            assert (current_traceparent() or "").endswith("-00")
            call()
    finally:
        configure(tracing=None)


def test_global_is_whatever_provider_the_process_has() -> None:
    configure(tracing="global")
    try:
        with span("agent", "task-1"):  # nobody has set one here: OpenTelemetry's own does nothing
            call()
        assert PROCESS.settings == TracingSettings("global")
    finally:
        configure(tracing=None)


@pytest.mark.parametrize("wrong", ["everywhere", 7, TracerProvider])
def test_what_is_no_way_to_trace_is_refused_with_those_that_are(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="'off', 'store', 'otlp', 'global' or an OpenTelemetry TracerProvider"):
        configure(tracing=wrong)


def test_content_must_be_a_choice_or_a_function_and_needs_a_way_to_trace() -> None:
    with pytest.raises(ConfigurationError, match="content must be True, False or a function"):
        configure(tracing="store", content=7)  # type: ignore[arg-type] # the mistake under test
    configure(tracing="off")
    try:
        with pytest.raises(ConfigurationError, match="say where they go too"):
            configure(content=False)
    finally:
        configure(tracing=None)


class Collector(BaseHTTPRequestHandler):
    """An OTLP endpoint that keeps what it is sent."""

    bodies: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.bodies.append((self.path, gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name the base class gives it
        return


def test_otlp_sends_spans_to_the_endpoint_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    service = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    Collector.bodies.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        configure(tracing="otlp")
        try:
            with span("agent", "task-1"):
                call()
            assert flush(10.0)
        finally:
            configure(tracing=None)
            server.shutdown()
    ((path, body),) = Collector.bodies
    assert path == "/v1/traces"
    (resource,) = service.ExportTraceServiceRequest.FromString(body).resource_spans
    assert [one.name for one in resource.scope_spans[0].spans] == ["chat small", "invoke_agent task-1"]
    assert b"Hello?" not in body


def test_without_the_exporter_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'dspex-ray\[otel\]'"):
        configure(tracing="otlp")


@pytest.mark.parametrize(("text", "keeps"), [("off", False), ("yes", True), (None, None)])
def test_the_environment_says_where_spans_go_and_what_they_hold(text: str | None, keeps: Any) -> None:
    process = ProcessTracing()
    assert process.decide(Settings(trace="store", trace_content=text)) is process.tracer is not None
    assert process.settings == TracingSettings("store", keeps)


def test_an_environment_that_is_wrong_is_told_once() -> None:
    process = ProcessTracing()
    with pytest.raises(ConfigurationError, match="got 'somewhere'"):
        process.decide(Settings(trace="somewhere"))
    assert not process.is_open


def test_a_provider_stays_in_its_process_and_what_else_is_set_travels() -> None:
    given = checked_tracing(TracerProvider())
    assert given is not None
    assert given.portable() == TracingSettings("off")
    assert TracingSettings("store", content=False).portable() == TracingSettings("store", content=False)
