"""What replicas note of requests: in batches, never waiting, dropped with a count, and naming nobody."""

from __future__ import annotations

import asyncio
from typing import Any

from dspex_ray.requests_kept.recorder import RequestRecorder
from dspex_ray.requests_kept.request import MOST_CONTENT, RequestDetails, kept, unit_of
from dspex_ray.serving.contract import Outcome
from tests.support.kept_requests import SALT, outcome


class Sink:
    """Keeps batches; refuses so many first."""

    def __init__(self, refusals: int = 0) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.taken = asyncio.Event()
        self._refusals = refusals

    async def write(self, rows: list[dict[str, Any]]) -> None:
        if self._refusals:
            self._refusals -= 1
            raise ConnectionError
        self.batches.append(rows)
        self.taken.set()


def test_requests_are_written_in_one_batch_and_another_witness_hears_of_each() -> None:
    sink, heard = Sink(), list[Outcome]()

    async def run() -> None:
        recorder = RequestRecorder(sink, salt=SALT, also=heard.append)
        await recorder.start()
        for number in range(5):
            recorder.saw(outcome(str(number)))
        await recorder.close()
        assert recorder.status() == {"waiting": 0, "written": 5, "dropped": 0, "failed_writes": 0}

    asyncio.run(run())
    assert [[row["request_id"] for row in batch] for batch in sink.batches] == [list("01234")]
    assert [one.request_id for one in heard] == list("01234")


def test_what_finds_no_room_is_dropped_and_counted_and_a_refused_batch_is_offered_again() -> None:
    sink = Sink(refusals=1)

    async def run() -> None:
        recorder = RequestRecorder(sink, salt=SALT, capacity=3, interval_s=0.0)
        for number in range(5):
            recorder.saw(outcome(str(number)))
        await recorder.start()
        async with asyncio.timeout(5):
            await sink.taken.wait()
        await recorder.close()
        assert recorder.status() == {"waiting": 0, "written": 3, "dropped": 2, "failed_writes": 1}

    asyncio.run(run())


def test_a_user_is_a_hash_that_only_the_salt_could_test_and_no_row_names_one() -> None:
    details = RequestDetails(user="ann@example.com")
    row = kept(outcome("one", tenant="a"), details, SALT).to_row()
    assert "ann" not in str(row)
    assert row["unit"] == unit_of("a", "ann@example.com", "other", SALT)
    others = [unit_of("b", "ann@example.com", "one", SALT), unit_of("a", "ann@example.com", "one", b"other salt")]
    assert len({row["unit"], *others, unit_of("a", "bob", "one", SALT)}) == 4
    assert unit_of("a", None, "one", SALT) != unit_of("a", "one", "one", SALT)


def test_inputs_and_outputs_are_kept_only_when_asked_for_and_if_they_are_not_too_long() -> None:
    details = RequestDetails(input={"message": "hi"}, output={"text": "x" * MOST_CONTENT})
    assert kept(outcome("one"), details, SALT).input is None
    asked = kept(outcome("one"), details, SALT, content=True)
    assert (asked.input, asked.output) == ('{"message": "hi"}', None)


def test_a_figure_that_is_none_is_not_kept_as_one() -> None:
    row = kept(outcome("one\0\ud800", cost_usd=float("inf"), latency_s=float("nan")), RequestDetails(), SALT)
    assert (row.cost_usd, row.latency_s, row.request_id) == (None, 0.0, "one\ufffd?")
