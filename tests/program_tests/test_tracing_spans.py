"""Spans of programs, tools and model calls: their tree, their names, what they hold, and what they cost when off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_spans import KeptSpans, kept_spans

from dspex_agents.clock import ManualClock
from dspex_agents.messaging.trace_context import current_trace
from dspex_ray.calls import recorded_call, recorded_stream, tagged
from dspex_ray.errors import LMTimeoutError
from dspex_ray.lm.base import ChatMessage, LMReply, LMRequest, Usage
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema, Secret
from dspex_ray.tracing import NO_SPAN, current_traceparent, model_span, span, tool_span, within_trace
from dspex_ray.tracing.traceparent import checked_traceparent, ids_of, traceparent

REQUEST = LMRequest(messages=(ChatMessage("system", "Be brief."), ChatMessage("user", "Hello?")), temperature=0.5)
HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Answer(Program):
    """Answer."""

    class Input(Schema):
        text: str

    class Output(Schema):
        text: str


class Draft(Program):
    """Ask for two answers at once, with a tool between."""

    class Input(Schema):
        text: str

    class Output(Schema):
        text: str

    first = Answer()
    second = Answer()

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        async def looked_up(part: Program) -> Any:
            with tool_span("look_up"):
                await asyncio.sleep(0)
            return await part(text=input.text)

        answers = await asyncio.gather(looked_up(self.first), looked_up(self.second))
        return self.Output(text=" ".join(answer.text for answer in answers))


class Yields:
    """A model that lets others run before it answers."""

    model = "openai/gpt-4o-mini"

    async def complete(self, request: LMRequest) -> LMReply:
        await asyncio.sleep(0)
        usage = Usage(prompt_tokens=11, completion_tokens=5, cached_tokens=4)
        return LMReply(
            text='{"text": "yes"}', model=self.model, usage=usage, cost_usd=0.25, attempts=2, request_id="chatcmpl-7"
        )

    async def stream(self, request: LMRequest) -> Any:
        from dspex_ray.lm.base import LMChunk  # noqa: PLC0415 - of this method alone

        yield LMChunk(delta='{"text": ')
        yield LMChunk(delta='"yes"}', reply=await self.complete(request))

    async def aclose(self) -> None:
        return


class Fails(Yields):
    async def complete(self, request: LMRequest) -> LMReply:
        raise LMTimeoutError("openai/gpt-4o-mini gave no answer to 'Hello?'", attempts=3)


def call(lm: Any = None) -> LMReply:
    return asyncio.run(recorded_call(lm or Yields(), REQUEST, "m:P"))


CHAT: tuple[str, list[Any]] = ("chat gpt-4o-mini", [])
TOOL: tuple[str, list[Any]] = ("execute_tool look_up", [])
PART = ("invoke_workflow Answer", [CHAT])


def test_the_spans_of_programs_within_a_program_nest_as_they_call_each_other_though_they_run_at_once() -> None:
    async def several() -> None:
        program = Draft().with_lm(Yields())
        await asyncio.gather(*(program(text=str(n)) for n in range(5)))

    with kept_spans() as kept:
        asyncio.run(several())
        assert kept.tree() == [("invoke_workflow Draft", [TOOL, TOOL, PART, PART])] * 5
        records = kept.all()
    assert len({record.trace_id for record in records}) == 5
    assert len({record.span_id for record in records}) == len(records)
    places = {r.attributes.get("dspex.place") for r in records if r.name == "invoke_workflow Answer"}
    assert places == {"first", "second"}
    assert current_trace.get() is None


def test_what_is_called_within_tags_says_for_what() -> None:
    with kept_spans() as kept, tagged(run_id="run-1", trial=3, row=0, version="7"):
        Answer().with_lm(Yields()).run(text="x")
        told = kept.one("invoke_workflow Answer").attributes
    assert {key: told[f"dspex.{key}"] for key in ("run_id", "trial", "row", "version")} == {
        "run_id": "run-1",
        "trial": 3,
        "row": 0,
        "version": "7",
    }
    assert told["dspex.program"].endswith(":Answer")
    assert told["gen_ai.workflow.name"] == "Answer"
    assert told["gen_ai.operation.name"] == "invoke_workflow"


def test_a_model_call_has_the_attributes_of_the_genai_conventions() -> None:
    with kept_spans(content=False) as kept:
        call()
        record = kept.one("chat gpt-4o-mini")
    assert record.kind == "CLIENT"
    assert record.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.response.id": "chatcmpl-7",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "dspex.cost_usd": 0.25,
        "dspex.attempts": 2,
        "dspex.cached": False,
    }


def test_prompt_and_reply_are_kept_as_messages_with_parts() -> None:
    with kept_spans() as kept:
        call()
        told = kept.one("chat gpt-4o-mini").attributes
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hello?"}]},
    ]
    (answer,) = json.loads(told["gen_ai.output.messages"])
    assert answer["finish_reason"] == "stop"
    assert answer["parts"] == [{"type": "text", "content": '{"text": "yes"}'}]


def test_a_failed_call_has_the_kind_of_its_error_and_its_attempts() -> None:
    with kept_spans() as kept, pytest.raises(LMTimeoutError):
        call(Fails())
    record = kept.one("chat gpt-4o-mini")
    assert record.status == "error"
    assert (record.attributes["error.type"], record.attributes["dspex.attempts"]) == ("LMTimeoutError", 3)


def all_text(kept: KeptSpans) -> str:
    return json.dumps([dict(record.attributes) for record in kept.all()])


def test_without_content_no_span_holds_anything_that_was_said_not_even_in_an_error() -> None:
    with kept_spans(content=False) as kept:
        call()
        with pytest.raises(LMTimeoutError):
            call(Fails())
        with tool_span("look_up") as traced:
            traced.set(**{"gen_ai.tool.call.arguments": {"q": "Hello?"}, "gen_ai.tool.call.result": "yes"})
        text = all_text(kept)
    assert "LMTimeoutError" in text
    assert not any(said in text for said in ("Hello", "brief", "yes"))


def test_a_secret_is_in_no_span_though_content_is_kept() -> None:
    class Keyed(Answer):
        class Input(Schema):
            text: str
            key: Secret

    with kept_spans() as kept:
        Keyed().with_lm(Yields()).run(text="Hello?", key="sk-very-secret")
        text = all_text(kept)
    assert "Hello?" in text
    assert "very-secret" not in text


def test_a_redactor_decides_what_is_kept_of_every_text() -> None:
    with kept_spans(content=lambda text: text.replace("Hello", "[greeting]")) as kept:
        call()
        with pytest.raises(LMTimeoutError):
            call(Fails())
        with tool_span("look_up") as traced:
            traced.set(**{"gen_ai.tool.call.arguments": {"q": ["Hello?"], "n": 3}})
        text = all_text(kept)
        assert json.loads(kept.one("execute_tool look_up").attributes["gen_ai.tool.call.arguments"]) == {
            "q": ["[greeting]?"],
            "n": "3",
        }
    assert "Hello" not in text
    assert text.count("[greeting]") == 4
    assert "Be brief." in text


def test_of_what_a_redactor_fails_on_nothing_is_kept_and_the_program_goes_on() -> None:
    def broken(text: str) -> str:
        raise KeyError(text)

    with kept_spans(content=broken) as kept:
        assert call().text == '{"text": "yes"}'
        text = all_text(kept)
    assert "Hello" not in text
    assert "[not kept: the redactor raised KeyError]" in text


def test_a_long_text_is_cut() -> None:
    with kept_spans() as kept, tool_span("look_up") as traced:
        traced.set(**{"gen_ai.tool.call.result": "x" * 100_000})
    kept_text = kept.one("execute_tool look_up").attributes["gen_ai.tool.call.result"]
    assert len(kept_text) < 33_000
    assert kept_text.endswith("[68000 more characters]")


def test_a_stream_is_one_span_and_what_its_reader_does_meanwhile_is_not_below_it() -> None:
    async def read() -> None:
        async for _ in recorded_stream(Yields(), REQUEST, "m:P"):
            with span("step", "reading"):
                await asyncio.sleep(0)

    with kept_spans() as kept, span("step", "outside"):
        asyncio.run(read())
    assert kept.tree() == [("outside", [CHAT, ("reading", []), ("reading", [])])]
    assert kept.one("chat gpt-4o-mini").attributes["gen_ai.usage.output_tokens"] == 5


def test_a_stream_that_is_closed_early_is_a_failed_span() -> None:
    async def read() -> None:
        stream: Any = recorded_stream(Yields(), REQUEST, "m:P")
        await anext(stream)
        await stream.aclose()

    with kept_spans() as kept:
        asyncio.run(read())
    assert kept.one("chat gpt-4o-mini").status == "error"


def test_a_span_lasts_from_its_opening_to_its_end() -> None:
    clock = ManualClock(100.0)
    with kept_spans(clock=clock) as kept, span("step", "work", rows=3):
        clock.advance(2.5)
    record = kept.one("work")
    assert (record.start_ns, record.duration_s) == (100_000_000_000, 2.5)
    assert record.attributes == {"dspex.rows": 3}


def test_spans_within_a_header_belong_to_its_trace() -> None:
    with kept_spans() as kept, within_trace(HEADER), span("request", "POST /route"):
        assert (current_traceparent() or "").startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    record = kept.one("POST /route")
    assert (record.trace_id, record.parent_id, record.kind) == (*ids_of(HEADER), "SERVER")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        HEADER[:-1],
        HEADER.upper(),
        HEADER + "-extra",
        "ff" + HEADER[2:],
        "00-" + "0" * 32 + HEADER[35:],
        HEADER[:36] + "0" * 16 + "-01",
        "x" * 100_000,
    ],
)
def test_a_header_that_is_not_valid_begins_a_trace_of_its_own(header: str | None) -> None:
    assert checked_traceparent(header) is None
    with kept_spans() as kept, within_trace(header), span("request", "POST /route"):
        pass
    assert kept.one("POST /route").parent_id is None


@given(st.text(max_size=80))
def test_any_text_is_a_header_or_none(text: str) -> None:
    found = checked_traceparent(text)
    assert found is None or (len(found) == 55 and text.strip().startswith(found))


def test_a_header_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    later = "01" + HEADER[2:] + "-more"
    assert checked_traceparent(later) == later[:55]
    assert ids_of(traceparent(*ids_of(HEADER))) == ids_of(HEADER)


def test_while_tracing_is_off_every_span_is_the_same_one_that_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DSPEX_TRACE", raising=False)
    assert span("step", "x") is NO_SPAN
    assert tool_span("x") is NO_SPAN
    assert model_span(Yields(), REQUEST) is NO_SPAN
    with span("step", "x"):
        assert current_traceparent() is None


def test_while_tracing_is_off_neither_opentelemetry_nor_the_store_is_loaded() -> None:
    code = (
        "import sys, dspex_ray.agent_system as _, dspex_ray.tracing as t\n"
        "with t.span('step', 'x'), t.tool_span('y'): pass\n"
        "from dspex_ray.programs.program import Program\n"
        "print([m for m in ('opentelemetry', 'ray', 'dspex_ray.tracing.kept') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
