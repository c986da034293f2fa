"""Spans on their way to a sink: bounded, in batches, offered again after a failure; and kept in a store once each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.database import Database
from dspex_ray.store import open_store
from dspex_ray.store.spans import SpanStore
from dspex_ray.tracing.writer import SpanWriter


def row(number: int, **fields: Any) -> dict[str, Any]:
    common = {"name": f"s{number}", "kind": "INTERNAL", "start_ns": number, "end_ns": number + 5, "status": "ok"}
    ids = {"trace_id": "t" * 32, "span_id": f"{number:016x}", "parent_id": None, "run_id": None, "request_id": None}
    return {**common, **ids, "attributes": {}, **fields}


def test_a_full_buffer_drops_spans_and_counts_them(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Any] = []
    writer = SpanWriter(lambda: kept.extend, capacity=3, interval_s=3600)
    for number in range(10):
        writer.put(row(number))
    assert caplog.messages == ["more than 3 spans wait to be written; others are dropped meanwhile"]
    assert writer.status() == {"waiting": 3, "written": 0, "dropped": 7, "failed_writes": 0}
    assert writer.flush(1.0)
    assert [one["name"] for one in kept] == ["s0", "s1", "s2"]
    assert writer.status()["written"] == 3


def test_the_thread_writes_in_batches_without_being_asked(wait: Callable[..., None]) -> None:
    batches: list[int] = []
    writer = SpanWriter(lambda: lambda rows: batches.append(len(rows)), interval_s=0.01)
    for number in range(1200):
        writer.put(row(number))
    wait(lambda: sum(batches) == 1200)
    assert max(batches) <= 500


def test_spans_that_a_sink_refused_are_offered_again(caplog: pytest.LogCaptureFixture, wait: Any) -> None:
    kept: list[Any] = []
    failures = iter([True, True])

    def sink(rows: list[dict[str, Any]]) -> None:
        if next(failures, False):
            raise ConnectionError("no ledger")
        kept.extend(rows)

    writer = SpanWriter(lambda: sink, interval_s=0.01)
    with caplog.at_level(logging.WARNING):
        writer.put(row(1))
        wait(lambda: len(kept) == 1)
    assert writer.status()["failed_writes"] == 2
    assert "1 spans could not be written, to be tried again: no ledger" in caplog.text


def test_a_flush_that_cannot_have_its_turn_in_time_says_so() -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(_rows: list[dict[str, Any]]) -> None:
        begun.set()
        end.wait(10)

    writer = SpanWriter(lambda: slow, interval_s=0.001)
    writer.put(row(1))
    assert begun.wait(10)
    assert not writer.flush(0.01)
    end.set()
    assert writer.flush(5.0)


def test_what_waits_goes_to_the_sink_that_is_named_last() -> None:
    first: list[Any] = []
    second: list[Any] = []
    writer = SpanWriter(lambda: first.extend, interval_s=3600)
    writer.put(row(1))
    writer.use(second.extend)
    assert writer.flush(1.0)
    assert (len(first), len(second)) == (0, 1)


@pytest.fixture
def spans(tmp_path: Path) -> SpanStore:
    return SpanStore(open_store(str(tmp_path / "s.db")).database)


def test_a_store_gives_back_the_spans_it_was_given_once_each(spans: SpanStore) -> None:
    attributes = {"dspex.row": 3, "gen_ai.request.temperature": 0.5, "dspex.cached": True, "a.b": ["x", "y"]}
    given_rows = [row(2, parent_id=f"{1:016x}", status="error", attributes=attributes), row(1, run_id="run-1")]
    spans.write(given_rows)
    spans.write(given_rows)
    assert spans.traces_of("run-1") == spans.traces_of("t" * 32) == ["t" * 32]
    assert spans.count(["t" * 32]) == 2
    first, second = spans.spans(["t" * 32], 10)
    assert (first.name, first.parent_id, first.duration_s) == ("s1", None, 5e-9)
    assert (second.status, second.parent_id, second.attributes) == ("error", first.span_id, attributes)
    assert [record.name for record in spans.spans(["t" * 32], 1)] == ["s1"]


def test_traces_are_found_by_run_and_request_the_newest_first(spans: SpanStore) -> None:
    spans.write([row(n, trace_id=f"{n:032x}", run_id=f"run-{n % 2}", request_id=f"req-{n}") for n in range(4)])
    assert spans.traces_of("run-1") == [f"{1:032x}", f"{3:032x}"]
    assert spans.traces_of("req-2") == [f"{2:032x}"]
    assert spans.traces_of("nothing") == []
    assert [one.request_id for one in spans.latest(2)] == ["req-3", "req-2"]


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_text_can_be_kept(name: str, value: str) -> None:
    database = Database("sqlite://")  # of this test alone
    spans = SpanStore(database)
    spans.write([row(1, name=name, attributes={"a.b": value})])
    database.close()


def test_two_processes_may_open_the_spans_of_one_store(tmp_path: Path) -> None:
    stores = [SpanStore(Database(str(tmp_path / "s.db"))) for _ in range(2)]
    stores[0].write([row(1)])
    stores[1].write([row(1), row(2)])
    assert stores[0].count(["t" * 32]) == 2
