"""The buffer between requests and the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from dspex_ray.calls import buffer as call_buffer
from dspex_ray.calls.buffer import CallBuffer, Row


class MovableSink:
    """Keeps what it is given; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.batches: list[list[Row]] = []
        self.offered, self.taken = asyncio.Event(), asyncio.Event()

    async def write(self, rows: list[Row]) -> None:
        self.offered.set()
        if self.failures:
            self.failures -= 1
            msg = "no database"
            raise OSError(msg)
        self.batches.append(list(rows))
        self.taken.set()


def rows(*numbers: int) -> list[Row]:
    return [{"n": number} for number in numbers]


def live(scenario: Callable[[], Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(10):
            return await scenario()

    return asyncio.run(bounded())


def test_rows_are_written_in_order_in_the_background() -> None:
    async def scenario() -> None:
        sink = MovableSink()
        buffer = CallBuffer(sink, interval_s=0.0)
        await buffer.start()
        buffer.put(rows(1, 2))
        buffer.put(rows(3))
        await sink.offered.wait()
        await buffer.close()
        assert [row for batch in sink.batches for row in batch] == rows(1, 2, 3)
        assert buffer.status() == {"waiting": 0, "written": 3, "dropped": 0, "failed_writes": 0}

    live(scenario)


def test_close_writes_what_has_not_been_written_yet() -> None:
    async def scenario() -> None:
        sink = MovableSink()
        buffer = CallBuffer(sink, interval_s=3600)
        await buffer.start()
        buffer.put(rows(*range(2500)))
        await buffer.close()
        assert [len(batch) for batch in sink.batches] == [1000, 1000, 500]

    live(scenario)


def test_a_failing_sink_is_tried_again_until_it_takes_the_rows(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        sink = MovableSink(failures=3)
        buffer = CallBuffer(sink, interval_s=0.001)
        await buffer.start()
        buffer.put(rows(1))
        await sink.taken.wait()
        await buffer.close()
        assert sink.batches == [rows(1)]
        assert buffer.status()["failed_writes"] == 3
        assert buffer.status()["dropped"] == 0

    with caplog.at_level(logging.WARNING):
        live(scenario)
    assert "no database" in caplog.text


def test_rows_beyond_the_capacity_are_dropped_and_counted() -> None:
    async def scenario() -> None:
        sink = MovableSink()
        buffer = CallBuffer(sink, capacity=3, interval_s=3600)
        await buffer.start()
        buffer.put(rows(1, 2))
        buffer.put(rows(3, 4, 5))
        buffer.put(rows(6))
        assert buffer.status()["waiting"] == 3
        assert buffer.status()["dropped"] == 3
        await buffer.close()
        assert sink.batches == [rows(1, 2, 3)]

    live(scenario)


def test_rows_a_sink_never_takes_are_counted_as_dropped_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        buffer = CallBuffer(MovableSink(failures=1_000_000), interval_s=3600)
        await buffer.start()
        buffer.put(rows(1, 2))
        await buffer.close()
        assert buffer.status() == {"waiting": 0, "written": 0, "dropped": 2, "failed_writes": 1}

    live(scenario)
    assert "2 records of model calls were not written" in caplog.text


def test_a_sink_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_buffer, "CLOSE_TIMEOUT_S", 0.05)

    class Hanging:
        async def write(self, rows: list[Row]) -> None:
            await asyncio.Event().wait()

    async def scenario() -> None:
        buffer = CallBuffer(Hanging(), interval_s=3600)
        await buffer.start()
        buffer.put(rows(1))
        await buffer.close()
        assert buffer.status()["dropped"] == 1

    live(scenario)


def test_a_write_cut_off_by_the_end_is_offered_again() -> None:
    class Slow(MovableSink):
        async def write(self, rows: list[Row]) -> None:
            first = not self.offered.is_set()
            self.offered.set()
            if first:
                await asyncio.Event().wait()
            self.batches.append(list(rows))

    async def scenario() -> None:
        sink = Slow()
        buffer = CallBuffer(sink, interval_s=0.0)
        await buffer.start()
        buffer.put(rows(1))
        await sink.offered.wait()
        await buffer.close()
        assert sink.batches == [rows(1)]

    live(scenario)
