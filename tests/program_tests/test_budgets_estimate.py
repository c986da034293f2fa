"""What a run will take, told before it runs: from prompts alone, or from a few rows really asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.errors import UsageError
from dspex_ray.estimation import estimate
from dspex_ray.evaluation import evaluate
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.prices import Price
from dspex_ray.lm.tokens import count_prompt_tokens

ROWS = [{"text": "word " * (1 + number % 7)} for number in range(40)]


class Counting:
    """A model of known price that counts tokens by the project's rule."""

    model = "test/counting"
    price = Price(1e-5, 1e-4, 1e-5)

    def __init__(self) -> None:
        self.calls = 0

    async def complete(self, request: LMRequest) -> LMReply:
        self.calls += 1
        usage = Usage(prompt_tokens=count_prompt_tokens(request.messages), completion_tokens=5)
        return LMReply(text='{"text": "x"}', model=self.model, usage=usage, cost_usd=self.price.cost_usd(usage))

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing to close."""


class Echo(dspex.Program):
    """Repeat the text."""

    class Input(dspex.Schema):
        text: str

    class Output(dspex.Schema):
        text: str


class Twice(dspex.Program):
    """Repeat the text twice over."""

    first = Echo()
    second = Echo()

    class Input(dspex.Schema):
        text: str

    class Output(dspex.Schema):
        text: str

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        once = await self.first.acall({"text": input.text})
        again = await self.second.acall({"text": once.text})
        return self.Output(text=again.text)


def test_an_estimate_asks_nothing_and_holds_what_the_run_then_takes() -> None:
    lm = Counting()
    found = estimate(Echo().with_lm(lm), ROWS)
    assert lm.calls == 0
    assert found.sampled == 0
    taken = evaluate(Echo().with_lm(lm), ROWS)
    assert found.calls.low <= taken.calls <= found.calls.high
    assert found.cost_usd is not None
    assert found.cost_usd.low <= taken.cost_usd <= found.cost_usd.high


def test_an_estimate_leaves_no_record_of_a_call() -> None:
    with recording() as log:
        estimate(Echo().with_lm(Counting()), ROWS)
    assert sum(record.cost_usd or 0.0 for record in log.records) == 0.0
    assert all(record.attempts == 1 and record.prompt_tokens == 0 for record in log.records)


def test_a_sample_is_really_asked_and_its_interval_holds_the_truth() -> None:
    lm = Counting()
    found = estimate(Echo().with_lm(lm), ROWS, sample=10)
    assert (lm.calls, found.sampled) == (10, 10)
    taken = evaluate(Echo().with_lm(lm), ROWS)
    assert found.cost_usd is not None
    assert found.cost_usd.low <= taken.cost_usd <= found.cost_usd.high
    assert found.calls.low == found.calls.high == 40
    one = estimate(Echo().with_lm(lm), ROWS, sample=1)
    assert one.cost_usd is not None
    assert one.cost_usd.low < one.cost_usd.likely < one.cost_usd.high


def test_calls_of_sub_programs_count_and_none_leaves_the_process() -> None:
    lm = Counting()
    found = estimate(Twice().with_lm(lm), ROWS)
    assert (lm.calls, found.calls.likely) == (0, 80)


def test_a_part_with_a_model_of_its_own_is_counted_and_not_asked() -> None:
    own = Counting()

    class Mixed(Twice):
        """Repeat the text twice over, by two models."""

        second = Echo().with_lm(own)

    found = estimate(Mixed().with_lm("openai/gpt-4o-mini"), ROWS)
    assert (own.calls, found.calls.likely) == (0, 80)


def test_an_optimisation_scores_each_trial_and_shows_demonstrations() -> None:
    program = ShopRoute().with_lm("openai/gpt-4o-mini")
    once, search = estimate(program, DATA), estimate(program, DATA, trials=10)
    assert search.rows.high == 10 * search.rows.low
    assert search.prompt_tokens.likely / search.rows.likely > once.prompt_tokens.likely / once.rows.likely
    assert "litellm" in search.priced_by


def test_a_model_without_a_price_has_an_estimate_without_a_cost() -> None:
    assert estimate(Echo().with_lm("vllm/own-model"), ROWS).cost_usd is None


@pytest.mark.parametrize("wrong", [{"sample": -1}, {"trials": 0}])
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="sample must be at least 0 and trials at least 1"):
        estimate(Echo(), ROWS, **wrong)  # type: ignore[arg-type]  # numbers by name
