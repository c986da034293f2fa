"""Limits of a model: the caps hold in any minute, for one process or many, and adapt to what the endpoint bears."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_agents.clock import ManualClock
from dspex_ray.errors import ConfigurationError, LMConnectionError, LMRateLimitError, LMServerError, LMTimeoutError
from dspex_ray.lm.base import ChatMessage, LMRequest, Usage
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.limits.adaptive import AdaptiveConcurrency
from dspex_ray.lm.limits.allowance import Allowance
from dspex_ray.lm.limits.gate import ModelGate
from dspex_ray.lm.limits.lender import OwnLender
from dspex_ray.lm.limits.places import Places
from dspex_ray.lm.limits.rate_bucket import RateBucket
from dspex_ray.lm.limits.slices import HELD_S, PLACES_S, Slice, SliceBook, SliceBooks, TakeSlice
from dspex_ray.lm.rate_headers import RateNews
from dspex_ray.lm.retry import Timing

REQUEST = LMRequest(messages=(ChatMessage("user", "one two three"),), max_tokens=7)


def most_in_a_minute(passed: list[tuple[float, float]]) -> float:
    """Return the greatest sum of units in any 60 s."""
    passed = sorted(passed)
    most = total = 0.0
    begin = 0
    for at, units in passed:
        total += units
        while passed[begin][0] <= at - 60.0:
            total -= passed[begin][1]
            begin += 1
        most = max(most, total)
    return most


@pytest.mark.parametrize("wrong", [{"requests_per_minute": 0}, {"tokens_per_minute": 1.5}, {"concurrency": True}])
def test_a_cap_that_is_none_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        LMLimits(**wrong)


@settings(deadline=None)
@given(
    st.integers(1, 5000),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 50)), min_size=1, max_size=200),
)
def test_a_bucket_never_lets_more_pass_in_a_minute_than_the_cap_and_one_call(
    per_minute: int, asked: list[tuple[float, int]]
) -> None:
    bucket, now, passed = RateBucket(per_minute, held_s=HELD_S, now=0.0), 0.0, []
    for wait_s, amount in asked:
        now += wait_s
        passed.append((now + bucket.reserve(amount, now), float(amount)))
    largest = max(amount for _, amount in asked)
    assert most_in_a_minute(passed) <= per_minute + largest + 1e-6


def test_units_held_back_to_be_used_late_do_not_pass_the_cap_either() -> None:
    bucket = RateBucket(1200, HELD_S, now=0.0)
    burst = int(bucket.available(0.0))
    bucket.reserve(burst, 0.0)
    passed = [(HELD_S, float(burst))]  # used at the last moment, and all that is refilled meanwhile as well
    while (at := bucket.reserve(1, HELD_S) + HELD_S) <= HELD_S + 60.0:
        passed.append((at, 1.0))
    assert 0.9 * 1200 <= most_in_a_minute(passed) <= 1200


def test_a_bucket_uses_nine_tenths_of_its_cap_when_there_is_always_work() -> None:
    bucket = RateBucket(600, held_s=HELD_S, now=0.0)
    passed = [(bucket.reserve(1, 0.0), 1.0) for _ in range(6000)]
    assert 540 <= most_in_a_minute(passed) <= 600
    assert sum(units for at, units in passed if at <= 600.0) >= 0.9 * 6000


def test_who_comes_first_is_served_first() -> None:
    bucket = RateBucket(60, held_s=HELD_S, now=0.0)
    waits = [bucket.reserve(amount, 0.0) for amount in (3, 1, 5, 1)]
    assert waits == sorted(waits)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(20, 600))
def test_processes_together_never_pass_a_cap_though_some_die(seed: int, processes: int, per_minute: int) -> None:
    """Holders borrow ahead, use what is lent at any time in its second, give back in time what is left, or die."""
    rng = random.Random(seed)
    limits = LMLimits(requests_per_minute=per_minute, tokens_per_minute=per_minute * 10)
    book, passed, tokens = SliceBook(limits, 0.0), [], []
    unused = dict.fromkeys(range(processes), (0.0, 0, 0))
    now = 0.0
    for _ in range(400):
        now += rng.expovariate(2.0)
        holder = rng.randrange(processes)
        (lent_at, requests, token_count), unused[holder] = unused[holder], (0.0, 0, 0)
        returned = (requests, token_count) if now - lent_at < 2 * HELD_S else (0, 0)
        ask = TakeSlice(
            model="m", limits=limits, holder=str(holder), requests=1, tokens=10, ahead=rng.choice([1, 4, 64]),
            patience_s=rng.choice([0.0, 1.0, 100.0]), unused_requests=returned[0], unused_tokens=returned[1],
        )  # fmt: skip
        lent = book.take(ask, now)
        used = lent.requests if lent.wait_s else rng.randint(0, lent.requests)
        for _ in range(used):
            at = now + lent.wait_s + (0.0 if lent.wait_s else rng.uniform(0.0, HELD_S))
            passed.append((at, 1.0))
            tokens.append((at, 10.0))
        is_dead = rng.random() < 0.1
        unused[holder] = (0.0, 0, 0) if is_dead else (now, lent.requests - used, lent.tokens - 10 * used)
    assert most_in_a_minute(passed) <= per_minute + 1
    assert most_in_a_minute(tokens) <= per_minute * 10 + 10


def test_what_is_not_used_is_lent_again() -> None:
    limits = LMLimits(requests_per_minute=200)
    book = SliceBook(limits, 0.0)

    def take(requests: int, unused: int = 0) -> Slice:
        ask = TakeSlice(model="m", limits=limits, holder="a", requests=requests, patience_s=0.0, unused_requests=unused)
        return book.take(ask, 0.0)

    assert take(10).requests == 10
    refused = take(1)
    assert (refused.requests, refused.wait_s > 0) == (0, True)
    assert take(4, unused=4).requests == 4


def test_a_holder_borrows_ahead_no_more_than_its_part() -> None:
    limits = LMLimits(requests_per_minute=2000)
    book = SliceBook(limits, 0.0)
    for name in "abcd":
        book.take(TakeSlice(model="m", limits=limits, holder=name), 0.0)
    lent = book.take(TakeSlice(model="m", limits=limits, holder="a", requests=1, ahead=1000), 0.0)
    assert lent.requests == 25


def places(book: SliceBook, holder: str, wanted: int, in_use: int, now: float) -> int:
    ask = TakeSlice(model="m", limits=book.limits, holder=holder, places=wanted, in_use=in_use)
    return book.take(ask, now).places


def test_places_are_shared_evenly_when_they_are_short_and_those_of_the_dead_come_back() -> None:
    book = SliceBook(LMLimits(concurrency=10), 0.0)
    assert places(book, "a", 30, 0, 0.0) == 10
    assert places(book, "b", 30, 0, 1.0) == 0
    assert places(book, "a", 30, 10, 1.1) == 5
    assert book.places_out() == {"a": 10}, "those in use are out until their calls have ended"
    assert places(book, "b", 30, 0, 1.2) == 0
    assert places(book, "a", 30, 7, 1.3) == 5
    assert places(book, "b", 30, 0, 1.4) == 3
    assert places(book, "a", 30, 5, 1.5) == 5
    assert places(book, "b", 30, 3, 1.6) == 5
    assert places(book, "b", 30, 5, 1.5 + PLACES_S) == 10
    assert book.places_out() == {"b": 10}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 1000))
def test_every_holder_gets_its_turn_however_few_places_there_are(concurrency: int, holders: int, seed: int) -> None:
    book, rng = SliceBook(LMLimits(concurrency=concurrency), 0.0), random.Random(seed)
    held = dict.fromkeys(range(holders), 0)
    had: dict[int, float] = dict.fromkeys(held, 0.0)
    for step in range(30 * holders):
        for holder in rng.sample(sorted(held), holders):  # each asks ten times a second and always has work
            held[holder] = places(book, str(holder), 9, held[holder], step / 10)
            had[holder] = max(had[holder], step / 10) if held[holder] else had[holder]
        assert sum(book.places_out().values()) <= concurrency
    assert min(had.values()) >= 1.5 * holders, "each had a place in the second half of the time"


def test_a_question_about_requests_leaves_the_places_of_its_client_alone() -> None:
    book = SliceBook(LMLimits(concurrency=10, requests_per_minute=600), 0.0)
    assert places(book, "a", 10, 0, 0.0) == 10
    ask = TakeSlice(model="m", limits=book.limits, holder="a", requests=1)
    assert book.take(ask, 0.1).requests == 1
    assert places(book, "b", 10, 0, 0.2) == 0


def test_a_new_book_takes_up_the_places_that_are_in_use() -> None:
    book = SliceBook(LMLimits(concurrency=10), 0.0)
    assert places(book, "a", 8, 8, 0.0) == 8
    assert places(book, "b", 8, 0, 0.0) == 2


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 12), st.integers(0, 3), st.floats(0, 9))))
def test_places_lent_are_never_more_than_there_are(steps: list[tuple[str, int, int, float]]) -> None:
    book, now = SliceBook(LMLimits(concurrency=7), 0.0), 0.0
    held: dict[str, int] = {}
    for holder, wanted, ended, wait_s in steps:
        now += wait_s
        in_use = max(0, held.get(holder, 0) - ended) if holder in book.places_out() else 0
        held[holder] = places(book, holder, wanted, in_use, now)
        assert sum(book.places_out().values()) <= 7


def test_a_change_of_limits_begins_a_new_book() -> None:
    books = SliceBooks()
    for per_minute, expected in ((40, 2), (2000, 2)):
        limits = LMLimits(requests_per_minute=per_minute)
        ask = TakeSlice(model="m", limits=limits, holder="a", requests=2, patience_s=0.0)
        assert books.take(ask, 0.0).requests == expected


def test_concurrency_is_cut_once_for_all_calls_of_a_storm_and_grows_again() -> None:
    adaptive = AdaptiveConcurrency(100)
    for _ in range(50):
        adaptive.met_overload(begun_at=1.0, now=2.0)
    assert adaptive.limit == 70
    adaptive.met_overload(begun_at=3.0, now=4.0)
    assert adaptive.limit == 49
    for _ in range(49):
        adaptive.went_well(in_flight=49)
    assert adaptive.limit in (49, 50)
    for _ in range(10_000):
        adaptive.went_well(in_flight=100)
    assert adaptive.limit == 100


def test_concurrency_does_not_grow_while_it_is_not_used_and_never_falls_below_one() -> None:
    adaptive = AdaptiveConcurrency(10)
    for at in range(20):
        adaptive.met_overload(float(at), float(at))
    assert adaptive.limit == 1
    adaptive.met_overload(30.0, 30.0)
    for _ in range(100):
        adaptive.went_well(in_flight=0)
    assert adaptive.limit == 1


class Scene:
    """A gate on a clock moved by hand; sleeping moves it."""

    def __init__(self, ceiling: int = 10, limits: LMLimits | None = None) -> None:
        self.clock = ManualClock(100.0)
        self.slept: list[float] = []
        self.timing = Timing(clock=self.clock, sleep=self.sleep, rng=random.Random(0))
        self.lends = 0
        own = OwnLender(self.clock)

        async def lender(ask: TakeSlice) -> Slice:
            self.lends += 1
            return await own(ask)

        allowance = Allowance("m", limits, "holder", lender, self.timing) if limits else None
        self.gate = ModelGate("m", ceiling, self.timing, allowance=allowance)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    async def call(self, error: Exception | None = None, *, patience_s: float = 60.0, total: int = 0) -> float:
        """Make one call; return when it was sent."""
        leave = await self.gate.enter(REQUEST, patience_s, is_first=True)
        sent = self.clock.monotonic()
        leave.usage = Usage(prompt_tokens=total) if total else None
        leave.leave(error)
        return sent


def in_scene(use: Callable[[], Any]) -> Any:
    return asyncio.run(use())


def test_after_a_429_no_call_is_begun_before_the_time_it_names() -> None:
    scene = Scene()

    async def storm() -> tuple[float, float]:
        first = await scene.call(LMRateLimitError("no", status=429, retry_after_s=5.0))
        return first, await scene.call()

    first, second = in_scene(storm)
    assert first + 5.0 <= second <= first + 5.5


def test_a_pause_longer_than_the_timeout_is_an_error_at_once_that_says_so() -> None:
    scene = Scene()

    async def storm() -> None:
        await scene.call(LMRateLimitError("no", status=429, retry_after_s=30.0))
        await scene.call(patience_s=10.0)

    with pytest.raises(LMRateLimitError, match="left alone for 30 s more") as caught:
        in_scene(storm)
    assert (scene.slept, caught.value.retry_after_s) == ([], 30.0)


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (LMRateLimitError("no", status=429), 7),
        (LMTimeoutError("late"), 7),
        (LMServerError("overloaded", status=529), 7),
        (LMServerError("broken", status=500), 10),
        (None, 10),
    ],
)
def test_overload_lowers_the_concurrency_and_other_failures_do_not(error: Exception | None, limit: int) -> None:
    scene = Scene()
    in_scene(lambda: scene.call(error))
    assert (scene.gate.limit, scene.gate.in_flight) == (limit, 0)


def test_an_answer_that_says_nothing_is_left_makes_the_next_call_wait_a_moment() -> None:
    scene = Scene()
    scene.gate.heard(RateNews(requests_left=0, requests_reset_s=0.4))
    in_scene(scene.call)
    scene.gate.heard(RateNews(requests_left=0, requests_reset_s=60.0))
    in_scene(scene.call)
    assert [0.4 <= scene.slept[0] <= 0.45, 1.0 <= scene.slept[1] <= 1.1] == [True, True]


def test_calls_wait_in_order_for_a_place_and_those_cancelled_leave_none_lost() -> None:
    scene, order = Scene(ceiling=2), []

    async def many() -> None:
        gates = asyncio.Event()

        async def one(number: int) -> None:
            leave = await scene.gate.enter(REQUEST, 60.0, is_first=True)
            order.append(number)
            try:
                await gates.wait()
            finally:
                leave.leave()

        tasks = [asyncio.create_task(one(number)) for number in range(8)]
        await asyncio.sleep(0)
        assert (scene.gate.in_flight, scene.gate.wanted) == (2, 8)
        tasks[3].cancel()
        tasks[0].cancel()
        gates.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    in_scene(many)
    assert order == [0, 1, 2, 4, 5, 6, 7]
    assert scene.gate.in_flight == 0


def test_what_a_client_does_not_use_goes_back_in_time_and_never_late() -> None:
    told: list[int] = []

    async def lender(ask: TakeSlice) -> Slice:
        told.append(ask.unused_requests)
        return Slice(requests=ask.requests * 10)

    async def use() -> None:
        clock = ManualClock()
        limits = LMLimits(requests_per_minute=6000)
        allowance = Allowance("m", limits, "holder", lender, Timing(clock=clock))
        for idle_s in (0.0, 1.5 * HELD_S, 2.5 * HELD_S):
            clock.advance(idle_s)
            await allowance.reserve(REQUEST, 60.0)

    asyncio.run(use())
    assert told == [0, 9, 0]


def test_a_call_given_up_while_it_waited_goes_back() -> None:
    told: list[TakeSlice] = []

    async def lender(ask: TakeSlice) -> Slice:
        told.append(ask)
        return Slice(requests=ask.requests, tokens=ask.tokens, wait_s=30.0)

    async def use() -> None:
        limits = LMLimits(requests_per_minute=6, tokens_per_minute=600)
        allowance = Allowance("m", limits, "holder", lender, Timing())
        for _ in range(2):
            waiting = asyncio.create_task(allowance.reserve(REQUEST, 60.0))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])

    asyncio.run(use())
    assert [(ask.unused_requests, ask.unused_tokens) for ask in told] == [(0, 0), (1, told[0].tokens)]


def test_no_call_is_begun_while_the_lender_counts_those_in_use() -> None:
    seen: list[tuple[int, int]] = []

    async def use() -> None:
        tasks: list[asyncio.Task[Any]] = []
        thrice = asyncio.Event()

        async def lender(ask: TakeSlice) -> Slice:
            if len(seen) == 1:  # places are free, and more calls come during the question
                tasks.extend(asyncio.create_task(gate.enter(REQUEST, 60.0, is_first=True)) for _ in range(3))
                for _ in range(5):
                    await asyncio.sleep(0)
            seen.append((ask.in_use, gate.in_flight))
            if len(seen) == 3:
                thrice.set()
            return Slice(places=4)

        limits = LMLimits(concurrency=4)
        gate = ModelGate("m", 4, Timing(), places=Places("m", limits, "holder", lender, 4))
        tasks.extend(asyncio.create_task(gate.enter(REQUEST, 60.0, is_first=True)) for _ in range(2))
        await thrice.wait()
        for task in tasks:
            (await task).leave()
        await gate.aclose()

    asyncio.run(asyncio.wait_for(use(), 20.0))
    assert seen[1] == (2, 2)


def test_a_lender_that_does_not_answer_is_one_of_our_errors() -> None:
    async def lost(_: TakeSlice) -> Slice:
        raise OSError("gone")

    timing = Timing(clock=ManualClock())
    allowance = Allowance("m", LMLimits(requests_per_minute=5), "holder", lost, timing)
    gate = ModelGate("m", 10, timing, allowance=allowance)
    with pytest.raises(LMConnectionError, match=r"limits of m are shared.*gone") as caught:
        asyncio.run(gate.enter(REQUEST, 60.0, is_first=True))
    assert (caught.value.attempts, gate.in_flight) == (0, 0)


def test_borrowed_places_are_kept_while_calls_are_open_and_given_back_at_the_end() -> None:
    book, told = SliceBook(LMLimits(concurrency=3), 0.0), []

    async def lender(ask: TakeSlice) -> Slice:
        told.append((ask.places, ask.in_use))
        return book.take(ask, 0.0)

    async def use() -> int:
        timing = Timing()
        places = Places("m", book.limits, "holder", lender, 3)
        gate = ModelGate("m", 3, timing, places=places)
        open_calls = [await gate.enter(REQUEST, 60.0, is_first=True) for _ in range(3)]
        waiting = asyncio.create_task(gate.enter(REQUEST, 60.0, is_first=True))
        await asyncio.sleep(0)
        assert (gate.in_flight, waiting.done()) == (3, False)
        open_calls[0].leave()
        last = await waiting
        most = gate.in_flight
        for call in (*open_calls, last):
            call.leave()
        await gate.aclose()
        return most

    assert asyncio.run(use()) == 3
    assert told[-1] == (0, 0)
    assert book.places_out() == {}


def test_the_pace_of_requests_is_held_with_few_messages_to_the_lender() -> None:
    scene = Scene(limits=LMLimits(requests_per_minute=600))

    async def many() -> list[float]:
        return [await scene.call() for _ in range(700)]

    sent = in_scene(many)
    assert most_in_a_minute([(at, 1.0) for at in sent]) <= 600
    assert sent[-1] - sent[0] <= 75.0


def test_a_slow_caller_seldom_asks_the_lender() -> None:
    scene = Scene(limits=LMLimits(requests_per_minute=100_000))

    async def many() -> None:
        for _ in range(1000):
            await scene.call()
            scene.clock.advance(0.002)

    in_scene(many)
    assert scene.lends <= 40


def test_tokens_are_set_aside_before_a_call_and_settled_after_it() -> None:
    scene = Scene(limits=LMLimits(tokens_per_minute=2000))

    async def many(total: int, calls: int) -> list[float]:
        return [await scene.call(total=total) for _ in range(calls)]

    sent = in_scene(lambda: many(200, 30))
    assert most_in_a_minute([(at, 200.0) for at in sent]) <= 2000 + 200
    assert sent[-1] - sent[0] >= 150.0


def test_a_wait_for_the_own_limit_beyond_the_timeout_is_an_error_at_once() -> None:
    scene = Scene(limits=LMLimits(requests_per_minute=2))

    async def two() -> None:
        await scene.call()
        await scene.call(patience_s=5.0)

    with pytest.raises(LMRateLimitError, match="m is at its limit"):
        in_scene(two)
    assert scene.gate.in_flight == 0
