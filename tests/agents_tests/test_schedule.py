"""The timetable of schedules: the grid, what was missed, jitter, and what came of each tick."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.errors import SpecError
from dspex_agents.services.schedule import Schedule, Tick, Timetable

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC).timestamp()


def table(**options: Any) -> Timetable:
    return Timetable(random.Random(1), **options)


def every(seconds: float, id_: str = "s", **fields: Any) -> Schedule:
    return Schedule(owner="a", id=id_, every_s=seconds, message="go", **fields)


def times(timetable: Timetable, now: float) -> list[float | None]:
    """Take what is due and call it done; return the times at which it was due."""
    ticks = timetable.due(now)
    for tick in ticks:
        timetable.settle(tick, now)
    return [tick.due_at for tick in ticks]


def test_ticks_come_on_the_grid_of_the_first_one() -> None:
    book = table()
    assert book.put(every(10), 100.0).due_at == 110.0
    assert book.next_at() == 110.0
    assert [times(book, now) for now in (109.9, 110.0, 113.0, 120.5, 129.0, 130.0)] == [[], [110], [], [120], [], [130]]
    assert (book.state("a", "s").done, book.state("a", "s").missed, book.state("a", "s").last_at) == (3, 0, 130.0)


def test_the_first_tick_can_be_set_apart() -> None:
    book = table()
    book.put(every(10, "now", first_after_s=0), 100.0)
    book.put(every(10, "later", first_after_s=25), 100.0)
    book.put(Schedule(owner="a", id="cron", cron="0 * * * *", first_after_s=3600), NOON)
    assert [book.state("a", id_).due_at for id_ in ("now", "later", "cron")] == [100.0, 125.0, NOON + 7200]
    assert times(book, 100.0) == [100.0]
    assert book.state("a", "now").due_at == 110.0


def test_missed_ticks_are_counted_and_not_made_up() -> None:
    book = table()
    book.put(every(10), 0.0)
    assert times(book, 45.0) == [40.0]
    state = book.state("a", "s")
    assert (state.done, state.missed, state.due_at) == (1, 3, 50.0)


def test_a_tick_that_comes_while_the_last_is_under_way_is_missed() -> None:
    book = table()
    book.put(every(10), 0.0)
    (slow,) = book.due(10.0)
    assert book.due(20.0) == ()
    assert book.due(45.0) == ()
    assert (book.state("a", "s").missed, book.state("a", "s").under_way) == (3, 1)
    book.settle(slow, 46.0)
    assert times(book, 50.0) == [50.0]


def test_cron_times_are_met_in_their_zone_and_missed_ones_counted() -> None:
    book = table()
    book.put(Schedule(owner="a", id="daily", cron="30 13 * * *", timezone="Europe/Berlin"), NOON)
    assert times(book, NOON) == []
    assert times(book, NOON + 30 * 60) == [NOON + 30 * 60]
    assert times(book, NOON + 3 * 86400) == [NOON + 30 * 60 + 2 * 86400]
    assert book.state("a", "daily").missed == 1


def test_a_clock_that_jumps_by_years_does_not_hold_it_up() -> None:
    book = table()
    book.put(Schedule(owner="a", id="minute", cron="* * * * *"), NOON)
    book.put(every(0.001), NOON)
    later = NOON + 20 * 365 * 86400
    assert len(times(book, later)) == 2
    assert book.state("a", "minute").missed == 1000
    assert all(state.due_at > later for state in book.states())


@given(every_s=st.floats(0.5, 100), jitter=st.floats(0, 0.99), steps=st.lists(st.floats(0, 300), max_size=30))
def test_each_tick_is_put_off_by_less_than_its_jitter_and_all_are_accounted_for(
    every_s: float, jitter: float, steps: list[float]
) -> None:
    book = table()
    jitter_s = jitter * every_s
    book.put(every(every_s, jitter_s=jitter_s), 0.0)
    now, last = 0.0, 0.0
    for step in steps:
        now += step
        ticks = book.due(now)
        for tick in ticks:
            assert tick.due_at is not None
            assert last < tick.due_at <= now
            last = tick.due_at
            book.settle(tick, now)
        at = book.next_at()
        state = book.state("a", "s")
        assert at is not None
        assert now < at <= state.due_at + jitter_s
        passed = round(state.due_at / every_s) - 1  # of the grid every_s, 2 * every_s, ...
        assert state.done + state.missed == passed
        assert abs(state.due_at - (passed + 1) * every_s) < 1e-6 * state.due_at


def test_the_same_seed_gives_the_same_jitter() -> None:
    def ats() -> list[float | None]:
        book = table()
        book.put(every(10, jitter_s=5), 0.0)
        found = []
        while len(found) < 10 and (at := book.next_at()) is not None:
            times(book, at)
            found.append(at)
        return found

    assert ats() == ats()
    assert len({at % 10 for at in ats() if at is not None}) == 10


def test_the_same_schedule_registered_again_goes_on_and_a_changed_one_starts_anew() -> None:
    book = table()
    book.put(every(10), 0.0)
    times(book, 10.0)
    assert book.put(every(10), 15.0).due_at == 20.0
    changed = book.put(every(20), 15.0)
    assert (changed.due_at, changed.done) == (35.0, 1)
    assert [times(book, now) for now in (20.0, 35.0)] == [[], [35.0]]


def test_an_interval_is_changed_from_now_on() -> None:
    book = table()
    book.put(every(10), 0.0)
    assert book.set_interval("a", "s", 3.0, 5.0).due_at == 8.0
    assert [times(book, now) for now in (8.0, 10.0, 11.0)] == [[8.0], [], [11.0]]
    for seconds in (0, -1, float("nan")):
        with pytest.raises(SpecError, match="every_s must be a positive number"):
            book.set_interval("a", "s", seconds, 0.0)
    book.put(Schedule(owner="a", id="cron", cron="* * * * *"), NOON)
    with pytest.raises(SpecError, match="goes by cron '\\* \\* \\* \\* \\*'; register it anew"):
        book.set_interval("a", "cron", 3.0, 5.0)


def test_a_schedule_fired_by_hand_keeps_its_times() -> None:
    book = table()
    book.put(every(10), 0.0)
    first, second = book.fire("a", "s", 5.0), book.fire("a", "s", 5.0)
    assert first.key != second.key
    assert first.due_at is None
    book.settle(first, 6.0)
    book.settle(second, 6.0, "ValueError: no")
    state = book.state("a", "s")
    assert (state.done, state.failed, state.under_way, state.last_error, state.due_at) == (
        1,
        1,
        0,
        "ValueError: no",
        10.0,
    )


def test_a_removed_schedule_is_not_fired_and_what_comes_of_its_last_tick_is_of_no_matter() -> None:
    book = table()
    book.put(every(10), 0.0)
    (tick,) = book.due(10.0)
    assert book.remove("a", "s")
    assert not book.remove("a", "s")
    assert book.settle(tick, 11.0) is None
    assert (book.due(100.0), book.next_at(), len(book)) == ((), None, 0)
    with pytest.raises(SpecError, match=r"No schedule 's' of agent 'a'\. It has: none"):
        book.state("a", "s")


def test_what_an_earlier_life_left_is_due_again_under_the_same_key() -> None:
    book = table()
    saved = book.put(every(10), 0.0)
    (under_way,) = book.due(10.0)
    later = table()
    later.restore([saved])
    assert later.due(14.0) == (Tick(every(10), under_way.key, 10.0),)
    assert later.state("a", "s").due_at == 20.0


def test_schedules_are_told_apart_by_owner_and_bounded_in_number() -> None:
    book = table(most=2)
    book.put(every(10), 0.0)
    book.put(Schedule(owner="b", id="s", every_s=5), 0.0)
    with pytest.raises(SpecError, match="schedules: 2 are there, no room for 'third' of 'a'"):
        book.put(every(10, "third"), 0.0)
    book.put(every(11), 0.0)
    assert book.owners() == {"a", "b"}
    assert [state.schedule.every_s for state in book.states()] == [11, 5]
    assert [state.schedule.owner for state in book.states("b")] == ["b"]
    with pytest.raises(SpecError, match="most must be at least 1"):
        table(most=0)


def test_changing_an_interval_ten_thousand_times_keeps_no_old_times() -> None:
    book = table()
    book.put(every(10), 0.0)
    for n in range(10_000):
        book.set_interval("a", "s", 10.0 + n, 0.0)
    assert len(book._heap) < 1000
    assert book.next_at() == 10_009.0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "give either every_s or cron, got None and None"),
        ({"every_s": 1, "cron": "* * * * *"}, "give either every_s or cron"),
        ({"every_s": 0}, "every_s must be a positive number"),
        ({"every_s": float("inf")}, "every_s must be a positive number"),
        ({"cron": "every day"}, "cron expression 'every day'"),
        ({"cron": "* * * * *", "timezone": "Mars"}, "no time zone 'Mars'"),
        ({"every_s": 1, "first_after_s": -1}, "first_after_s must be seconds, not negative"),
        ({"every_s": 1, "jitter_s": 1}, "jitter_s must be at least 0 and shorter than the interval, got 1"),
        ({"every_s": 1, "jitter_s": -1}, "jitter_s must be at least 0"),
        ({"every_s": 1, "timeout_s": 0}, "timeout_s must be a positive number"),
        ({"every_s": 1, "owner": ""}, "owner and id must not be empty"),
    ],
)
def test_a_bad_schedule_is_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        Schedule(**{"owner": "a", "id": "s", **fields})
