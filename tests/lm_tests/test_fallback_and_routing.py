"""Several models behind one client: which one is asked, what the reply and the bill say, what a dead one costs."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from dspex_agents.clock import ManualClock
from dspex_agents.services.breaker import BreakerSettings
from dspex_agents.settings import Settings
from dspex_ray.calls import recorded_call, recording
from dspex_ray.errors import (
    ConfigurationError,
    LMAuthError,
    LMConnectionError,
    LMContextWindowError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    UnknownNameError,
)
from dspex_ray.lm.base import LM, ChatMessage, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price
from dspex_ray.lm.resolve import resolve_lm
from dspex_ray.lm.routing import FallbackLM, RoutedLM
from dspex_ray.testing.lm_contract import CountedSleep, ask
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer


class Scripted:
    """A model that answers, or raises what it was given; takes its time on a clock moved by hand."""

    endpoint = ""

    def __init__(self, name: str, error: LMError | None = None, clock: ManualClock | None = None) -> None:
        self.model, self.error, self.clock = name, error, clock or ManualClock()
        self.takes_s = 0.0
        self.timeouts: list[float] = []
        self.cut_after: int | None = None
        self.open: asyncio.Event | None = None

    async def complete(self, request: LMRequest) -> LMReply:
        self.timeouts.append(request.timeout_s)
        if self.open is not None:
            await self.open.wait()
        self.clock.advance(self.takes_s)
        if self.error is not None:
            raise type(self.error)(self.error.message, attempts=self.error.attempts)
        return LMReply(text=self.model, model=self.model, usage=Usage(prompt_tokens=1), cost_usd=1.0)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        if self.cut_after is not None:
            for _ in range(self.cut_after):
                yield LMChunk(delta="x")
            raise LMConnectionError("cut")
        reply = await self.complete(request)
        yield LMChunk(delta=reply.text)
        yield LMChunk(reply=reply)

    async def aclose(self) -> None:
        """Hold nothing."""


def complete(lm: LM, timeout_s: float = 20.0) -> LMReply:
    return asyncio.run(lm.complete(ask("hello", timeout_s=timeout_s)))


async def _chunks(lm: LM, into: list[LMChunk]) -> None:
    async for chunk in lm.stream(ask("hello")):
        into.append(chunk)  # noqa: PERF401 - what came before an error must stay


@pytest.mark.parametrize(
    "error",
    [LMServerError, LMRateLimitError, LMConnectionError, LMTimeoutError, LMAuthError, LMContextWindowError],
)
def test_the_next_model_answers_where_one_cannot(error: type[LMError]) -> None:
    reply = complete(FallbackLM([Scripted("a", error("no", attempts=3)), Scripted("b")]))
    assert (reply.model, reply.text, reply.attempts, reply.cost_usd) == ("b", "b", 4, 1.0)


def test_a_request_that_is_wrong_is_not_asked_elsewhere() -> None:
    second = Scripted("b")
    with pytest.raises(LMError, match="bad temperature"):
        complete(FallbackLM([Scripted("a", LMError("bad temperature")), second]))
    assert second.timeouts == []


def test_which_errors_fall_over_can_be_chosen() -> None:
    with pytest.raises(LMAuthError):
        complete(FallbackLM([Scripted("a", LMAuthError("no")), Scripted("b")], falls_over=(LMServerError,)))


def test_when_all_fail_the_last_error_names_the_others_and_counts_every_attempt() -> None:
    models = [Scripted("a", LMServerError("down", attempts=4)), Scripted("b", LMRateLimitError("slow", attempts=2))]
    with pytest.raises(LMRateLimitError, match="slow Before it failed a: LMServerError") as caught:
        complete(FallbackLM(models))
    assert caught.value.attempts == 6


def test_each_model_but_the_last_leaves_time_for_the_next() -> None:
    clock = ManualClock()
    models = [Scripted(name, LMTimeoutError("late"), clock) for name in "abc"]
    for model, takes_s in zip(models, (10.0, 10.0, 10.0), strict=True):
        model.takes_s = takes_s
    with pytest.raises(LMTimeoutError):
        complete(FallbackLM(models, clock=clock), timeout_s=30.0)
    assert [model.timeouts for model in models] == [[10.0], [10.0], [10.0]]


def test_a_dead_model_is_passed_over_and_tried_again_after_a_while() -> None:
    clock = ManualClock()
    dead = Scripted("a", LMConnectionError("gone"), clock)
    lm = FallbackLM(
        [dead, Scripted("b")], breaker=BreakerSettings(failure_threshold=2, success_threshold=1), clock=clock
    )
    assert [complete(lm).attempts for _ in range(4)] == [2, 2, 1, 1]
    assert (len(dead.timeouts), lm.passed_over()) == (2, ("a",))
    clock.advance(60.0)
    dead.error = None
    assert (complete(lm).model, lm.passed_over()) == ("a", ())


def test_a_prompt_too_long_for_a_model_does_not_count_against_it() -> None:
    lm = FallbackLM([Scripted("a", LMContextWindowError("long")), Scripted("b")])
    for _ in range(10):
        complete(lm)
    assert lm.passed_over() == ()


def test_a_trial_that_says_nothing_of_the_model_leaves_room_for_the_next() -> None:
    clock = ManualClock()
    model = Scripted("a", LMServerError("down"), clock)
    breaker = BreakerSettings(failure_threshold=1, success_threshold=1, reset_s=10.0)
    lm = FallbackLM([model, Scripted("b")], breaker=breaker, clock=clock)
    complete(lm)
    clock.advance(11.0)
    model.error = LMContextWindowError("long")
    assert complete(lm).model == "b"
    model.error = None
    assert complete(lm).model == "a"


def test_when_all_are_passed_over_the_first_is_asked_all_the_same() -> None:
    clock = ManualClock()
    model = Scripted("a", LMServerError("down"), clock)
    lm = FallbackLM([model], clock=clock)
    for _ in range(6):
        with pytest.raises(LMServerError):
            complete(lm)
    model.error = None
    assert complete(lm).text == "a"


def test_a_stream_falls_over_before_its_first_piece_and_not_after() -> None:
    first, second = Scripted("a"), Scripted("b")
    first.cut_after = 0
    came: list[LMChunk] = []
    asyncio.run(_chunks(FallbackLM([first, second]), came))
    assert came[-1].reply is not None
    assert (came[-1].reply.model, came[-1].reply.attempts) == ("b", 2)
    first.cut_after, came = 2, []
    with pytest.raises(LMConnectionError):
        asyncio.run(_chunks(FallbackLM([first, second]), came))
    assert [chunk.delta for chunk in came] == ["x", "x"]


def test_the_record_of_a_call_bills_the_model_that_answered() -> None:
    async def two_calls() -> list[tuple[str, float | None, int, str]]:
        request = LMRequest(messages=(ChatMessage("user", "hello"),))
        with recording() as log:
            await recorded_call(FallbackLM([Scripted("a", LMServerError("no")), Scripted("b")]), request, "p")
            with pytest.raises(LMServerError):
                await recorded_call(FallbackLM([Scripted("a", LMServerError("no"))]), request, "p")
        return [(record.model, record.cost_usd, record.attempts, record.status) for record in log.records]

    assert asyncio.run(two_calls()) == [("b", 1.0, 2, "ok"), ("a", None, 1, "error")]


def test_one_string_names_models_that_fall_over_over_real_http() -> None:
    with ModelServer(weather=Weather(faults=Faults(rate_500=1))) as dead, ModelServer(api_key="k") as alive:
        timing = CountedSleep().timing()
        models = [
            OpenAICompatibleLM(
                name, wire_model="m", base_url=server.base_url, api_key="k", price=Price(1.0, 1.0, 1.0), timing=timing
            )
            for name, server in (("openai/a", dead), ("openai/b", alive))
        ]

        async def ask_and_close(lm: FallbackLM) -> LMReply:
            reply = await lm.complete(ask("hello"))
            await lm.aclose()
            return reply

        reply = asyncio.run(ask_and_close(FallbackLM(models)))
        assert (reply.model, reply.attempts, reply.cost_usd) == ("openai/b", 5, reply.usage.total_tokens)
    lm = resolve_lm("ollama/a | ollama/b", settings=Settings.from_env({}))
    assert (type(lm), lm.model) == (FallbackLM, "ollama/a|ollama/b")
    with pytest.raises(UnknownNameError, match="Unknown model ''"):
        resolve_lm("ollama/a|", settings=Settings.from_env({}))


def test_it_pickles_with_closed_breakers() -> None:
    lm = FallbackLM([Scripted("a", LMServerError("no")), Scripted("b")])
    for _ in range(6):
        complete(lm)
    assert lm.passed_over() == ("a",)
    copy = pickle.loads(pickle.dumps(lm))
    assert (copy.model, copy.passed_over(), complete(copy).model) == ("a|b", (), "b")


@pytest.mark.parametrize("models", [[], "openai/a"])
def test_no_model_or_a_bare_name_is_refused(models: list[str]) -> None:
    for kind in (FallbackLM, RoutedLM):
        with pytest.raises(ConfigurationError, match="a list of names or clients"):
            kind(models)


def test_weights_share_the_calls_evenly_mixed() -> None:
    lm = RoutedLM([Scripted("a"), Scripted("b")], rule="weighted", weights=[3, 1])
    asked = [complete(lm).model for _ in range(8)]
    assert Counter(asked) == {"a": 6, "b": 2}
    assert asked[:4] == asked[4:]


def test_the_least_busy_model_is_asked() -> None:
    async def busy() -> Counter[str]:
        models = [Scripted("a"), Scripted("b"), Scripted("c")]
        lm, gate = RoutedLM(models, weights=[1, 1, 2]), asyncio.Event()
        for model in models:
            model.open = gate
        calls = [asyncio.create_task(lm.complete(ask("x"))) for _ in range(8)]
        await asyncio.sleep(0)
        gate.set()
        return Counter(reply.model for reply in await asyncio.gather(*calls))

    assert asyncio.run(busy()) == {"a": 2, "b": 2, "c": 4}


def test_the_quickest_model_is_asked_and_the_others_now_and_then() -> None:
    clock = ManualClock()
    models = [Scripted("slow", clock=clock), Scripted("quick", clock=clock)]
    models[0].takes_s, models[1].takes_s = 1.0, 0.1
    lm = RoutedLM(models, rule="latency", clock=clock, rng=random.Random(1))
    asked = Counter(complete(lm).model for _ in range(400))
    assert asked["quick"] > 370
    assert asked["slow"] >= 3


def test_a_model_that_fails_is_chosen_no_more_until_it_may_be_well_again() -> None:
    clock = ManualClock()
    broken = Scripted("a", LMServerError("down"), clock)
    lm = RoutedLM(
        [broken, Scripted("b", clock=clock)],
        breaker=BreakerSettings(failure_threshold=1, success_threshold=1),
        clock=clock,
    )
    with pytest.raises(LMServerError):
        complete(lm)
    assert {complete(lm).model for _ in range(5)} == {"b"}
    clock.advance(61.0)
    broken.error = None
    assert complete(lm).model == "a"


@pytest.mark.parametrize("settings", [{"rule": "fastest"}, {"weights": [1]}, {"weights": [1, 0]}, {"weights": [1, -1]}])
def test_a_choice_that_cannot_be_made_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        RoutedLM([Scripted("a"), Scripted("b")], **settings)  # type: ignore[arg-type]  # that is the test
