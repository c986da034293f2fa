"""BestOfN over real HTTP: the best of several answers, the same for any concurrency, and no call for nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_models import longer, replies, run_on, served

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.errors import LMAuthError, LMConnectionError, OutputError, ProgramError
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest
from dspex_ray.metrics import MetricError, Scored
from dspex_ray.metrics import exact as exact_metric
from dspex_ray.modules.best_of_n import BestOfN
from dspex_ray.modules.in_order import in_order
from dspex_ray.modules.samples import sampling
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.store import open_store


class Short(dspex.Program):
    """Answer the question."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    temperature = dspex.Float(0.0, 1.0, default=0.2)


class Best(BestOfN):
    program = Short()
    n = dspex.Int(1, 8, default=3)
    metric = staticmethod(longer)


def best(**settings: Any) -> BestOfN:
    return BestOfN(Short(), **{"n": 4, "metric": longer, **settings})


def test_the_output_with_the_best_reward_is_kept_and_the_earliest_of_equals() -> None:
    with sampling() as log:
        output, asked = run_on(best(), replies("aa", "first", "other", "a"), question="?")
    assert (output.answer, asked) == ("first", 4)
    assert [(one.number, one.score) for one in log.samples] == [(0, 0.2), (1, 0.5), (2, 0.5), (3, 0.1)]


def test_an_output_that_reaches_the_threshold_is_taken_at_once() -> None:
    output, asked = run_on(best(threshold=0.5), replies("a", "enough", "by far longer"), question="?")
    assert (output.answer, asked) == ("enough", 2)


def test_the_samples_are_other_entries_of_the_cache_and_the_first_is_that_of_a_lone_call(tmp_path: Path) -> None:
    with served(replies("one", "three", "five!")) as (server, lm):
        program = Short().with_lm(lm).with_cache(str(tmp_path))
        around = BestOfN(program, n=3, metric=longer)

        async def both() -> tuple[list[str], int]:
            lone = await program(question="?")
            found = [(await around(question="?")).answer for _ in range(2)]
            await lm.aclose()
            return [lone.answer, *found], server.counters()["requests"]

        answers, asked = asyncio.run(both())
    assert (answers, asked) == (["one", "three", "three"], 3)


class ByRollout:
    """Answers by the id of the rollout alone, in an order of its own."""

    model = "simulated/by-rollout"

    def __init__(self, lengths: list[int], seed: int = 0) -> None:
        self._lengths, self._random = lengths, random.Random(seed)
        self.asked: list[int] = []

    async def complete(self, request: LMRequest) -> LMReply:
        self.asked.append(request.rollout_id)
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)
        length = self._lengths[request.rollout_id]
        text = json.dumps({"answer": "a" * length}) if length else "nothing"
        return LMReply(text=text, model=self.model)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


def outcome(lengths: list[int], seed: int, **settings: Any) -> tuple[str, str]:
    program = best(n=len(lengths), **settings).with_lm(ByRollout(lengths, seed))
    try:
        return "ok", program.run(question="?").answer
    except OutputError as error:
        return "error", str(error)


@given(
    st.lists(st.integers(0, 10), min_size=1, max_size=6),
    st.integers(0, 99),
    st.sampled_from([0.3, 0.7, 1.0]),
    st.none() | st.integers(0, 3),
)
def test_the_result_is_the_same_one_after_another_and_all_at_once(
    lengths: list[int], seed: int, threshold: float, fail_count: int | None
) -> None:
    settings = {"threshold": threshold, "fail_count": fail_count}
    assert outcome(lengths, seed, concurrent=True, **settings) == outcome(lengths, seed, **settings)


def test_samples_after_one_that_will_do_are_cancelled_when_all_run_at_once() -> None:
    async def check() -> tuple[str, int]:
        never = asyncio.Event()

        class Stuck(ByRollout):
            async def complete(self, request: LMRequest) -> LMReply:
                if request.rollout_id != 1:
                    self.asked.append(request.rollout_id)
                    if request.rollout_id > 1:
                        await never.wait()
                return await super().complete(request)

        program = best(threshold=0.5, concurrent=True).with_lm(Stuck([1, 9, 10, 10]))
        output = await asyncio.wait_for(program(question="?"), 5)
        return output.answer, len(asyncio.all_tasks())

    assert asyncio.run(check()) == ("a" * 9, 1)


def test_a_sample_that_never_becomes_valid_has_failed_and_counts_for_nothing() -> None:
    output, asked = run_on(best(n=3), replies(None, "ab", "abc"), question="?")
    assert (output.answer, asked) == ("abc", 4)
    with pytest.raises(OutputError, match="gave no valid output"):
        run_on(best(n=2), replies(None, None), question="?")
    with pytest.raises(OutputError, match="gave no valid output"):
        run_on(best(n=3, fail_count=0), replies(None, "ab", "abc"), question="?")


def test_a_model_out_of_reach_is_raised_and_no_further_sample_is_asked_for() -> None:
    class Refused(ByRollout):
        async def complete(self, request: LMRequest) -> LMReply:
            self.asked.append(request.rollout_id)
            raise LMAuthError("no key", status=401)

    lm = Refused([])
    with pytest.raises(LMAuthError):
        best().with_lm(lm).run(question="?")
    assert lm.asked == [0]


def test_the_reward_may_be_awaited_and_say_more_than_a_number() -> None:
    async def judged(given: Any, output: Any) -> Scored:
        await asyncio.sleep(0)
        return Scored(1.0 if output.answer == given.question else 0.0, "say it again")

    with sampling() as log:
        output, asked = run_on(best(metric=judged), replies("no", "yes"), question="yes")
    assert (output.answer, asked) == ("yes", 2)
    assert log.samples[0].feedback == "say it again"


def test_a_reward_that_is_broken_or_no_number_is_named() -> None:
    def broken(_: Any, output: Any) -> float:
        return float(output.answer)

    with pytest.raises(MetricError, match=r"Metric broken failed on sample 0 of .*Short: ValueError"):
        run_on(best(metric=broken), replies("x"), question="?")
    with pytest.raises(MetricError, match=r"gave 3 on sample 0 of .*from 0 to 1"):
        run_on(best(metric=lambda *_: 3), replies("x"), question="?")

    def unreachable(*_: Any) -> float:
        raise LMConnectionError("the judge is gone")

    with pytest.raises(LMConnectionError, match="the judge is gone"):
        run_on(best(metric=unreachable), replies("x"), question="?")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"metric": None}, r"metric is a function metric\(input, output\)"),
        ({"metric": exact_metric}, "compares with a label"),
        ({"n": 0}, "n is a whole number from 1 on, got 0"),
        ({"n": dspex.Int(0, 3)}, "n is a whole number from 1 on, got 0"),
        ({"n": True}, "n is a whole number"),
        ({"threshold": "high"}, "threshold is a number, got 'high'"),
        ({"concurrent": 4}, "concurrent is True or False"),
        ({"fail_count": -1}, "fail_count is a whole number from 0 on"),
        ({"temperature": 0.7}, r"BestOfN\(Predict\('question -> answer', temperature="),
        ({"treshold": 0.7}, "Did you mean 'threshold'"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_when_it_is_made(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        best(**settings)


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(ProgramError, match=r"takes a program such as Route\(\), or a signature, got 3"):
        BestOfN(3, metric=longer)
    with pytest.raises(ProgramError, match="BestOfN is made around a program or a signature"):
        BestOfN()
    with pytest.raises(ProgramError, match="other schemas than its program"):

        class Other(BestOfN):
            class Input(dspex.Schema):
                text: str

            program = Short()
            metric = longer

    with pytest.raises(ProgramError, match="write in it: program = Route"):

        class Bare(BestOfN):
            class Input(dspex.Schema):
                text: str

            class Output(dspex.Schema):
                text: str


def test_a_class_in_the_usual_form_takes_over_what_its_program_declares() -> None:
    assert (Best.Input, Best.Output) == (Short.Input, Short.Output)
    assert set(Best().space().names) == {"n", "program.temperature"}
    assert Best().instruction == "Answer the question."
    output, asked = run_on(Best().with_values({"n": 2, "program.temperature": 0.9}), replies("a", "ab"), question="?")
    assert (output.answer, asked) == ("ab", 2)


def test_calls_stand_in_the_ledger_under_the_whole_program() -> None:
    with served(replies("a", "ab", "abc")) as (_, lm), recording() as log:
        Best().with_lm(lm).run(question="?")
    assert {(call.program, call.module) for call in log.records} == {(f"{__name__}:Best", "program")}
    assert len(log.records) == 3


def test_the_tuned_input_of_the_program_is_its_own_variable_alone() -> None:
    class Tuned(Short):
        """Answer."""

        class Input(dspex.Schema):
            question: str
            hint: Literal["none", "think"] = dspex.field("none", variable=True)

    program = BestOfN(Tuned(), n=1, metric=longer)
    assert [name for name in program.space().names if "hint" in name] == ["program.input.hint"]
    with served(replies("a")) as (server, lm):
        program.with_lm(lm).with_values({"program.input.hint": "think"}).run(question="?")
        assert "hint: think" in server.last_body["messages"][-1]["content"]


@pytest.mark.parametrize("program", [best(n=dspex.Int(1, 4, default=2)), Best(), BestOfN("q -> answer", metric=longer)])
def test_it_is_the_same_after_a_journey_and_from_its_state(program: BestOfN) -> None:
    tuned = program if "n" not in program.space().names else program.with_values({"n": 3})
    journeys: list[Any] = [Parcel.of(tuned).open(), program_from_state(tuned.state())]
    for again in journeys:
        assert (again.path, again.values, again.n) == (tuned.path, tuned.values, tuned.n)
        field = next(iter(again.Input.model_fields))
        output, _ = run_on(again, replies("a", "abc", "ab", "a", "a"), **{field: "?"})
        assert output.answer == "abc"


def test_a_reward_without_a_name_cannot_be_saved() -> None:
    with pytest.raises(ProgramError, match="define it at the top level of a module"):
        best(metric=lambda *_: 1.0).state()


def test_the_number_of_samples_and_the_temperature_are_found_by_a_search(tmp_path: Path) -> None:
    class Warm(ByRollout):
        async def complete(self, request: LMRequest) -> LMReply:
            warm = (request.temperature or 0.0) > 0.5 and request.rollout_id == 2
            return LMReply(text=json.dumps({"answer": "yes, it is" if warm else "no"}), model=self.model, cost_usd=0.1)

    rows = [{"question": f"{number}?", "answer": "yes, it is"} for number in range(10)]
    program = Best().with_lm(Warm([])).with_values({"n": 1})
    store = open_store(str(tmp_path / "store.db"))
    found = dspex.optimize(
        program, rows, runtime="in-process", workers=1, store=store, optimizer="random", trials=12, seed=3
    )
    store.database.close()
    assert (found.baseline, found.score) == (0.0, 1.0)
    assert found.program.values["n"] >= 3
    assert found.program.values["program.temperature"] > 0.5


@given(st.lists(st.integers(0, 3), max_size=8), st.integers(1, 9), st.integers(0, 3))
def test_results_in_order_do_not_depend_on_how_many_run_at_once(values: list[int], ahead: int, last: int) -> None:
    async def gathered(at_once: int) -> list[int]:
        running, most = 0, 0

        async def make(number: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(values[number]):
                await asyncio.sleep(0)
            running -= 1
            return values[number]

        found = [one async for one in in_order(make, len(values), ahead=at_once, ends=lambda one: one == last)]
        assert most <= at_once
        return found

    expected = list(itertools.takewhile(lambda one: one != last, values))
    expected += [last] if last in values else []
    assert asyncio.run(gathered(ahead)) == asyncio.run(gathered(1)) == expected
