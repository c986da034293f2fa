"""Programs that improve by demonstrations they made themselves, on a model that is told nothing else."""

from __future__ import annotations

import json
import logging
from statistics import fmean
from typing import Any, ClassVar

import pytest

import dspex_ray as dspex
from dspex_coordination import OptimizerError, SearchContext, Space
from dspex_coordination.variables import Bool
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.program_optimizers.bootstrap_few_shot import BootstrapFewShot
from dspex_ray.program_optimizers.sketch import ProgramSketch
from dspex_ray.store import Store

ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(60)]


class ShownLM:
    """Knows about every third number; of the others it must be shown how, by a demonstration with `key` in it.

    `shown` says whether such a demonstration helps it, does nothing or confuses it.
    """

    model = "simulated/shown"
    key: ClassVar[str] = "reasoning"

    def __init__(self, shown: str = "helps", knows: int = 3) -> None:
        self.shown, self.knows = shown, knows

    async def complete(self, request: LMRequest) -> LMReply:
        asked = request.messages[-1].content
        number = int(next(word for word in asked.split() if word.isdigit()))
        demos = [json.loads(one.content) for one in request.messages if one.role == "assistant"]
        taught = any(one.get(self.key) for one in demos)
        knows = self.knows > 0 and number % self.knows == 0
        right = (knows or (taught and self.shown == "helps")) and not (taught and self.shown == "confuses")
        seen = "even" if number % 2 == 0 else "odd"
        even = "is even" in asked if "parity: " in asked else number % 2 == 0
        known = {"reasoning": f"{number} by 2", "parity": f"{number} is {seen}", "answer": "yes" if even else "no"}
        wanted = request.response_schema["properties"] if request.response_schema else {}
        answer = {name: known[name] if right or name == "reasoning" else "no idea" for name in wanted}
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=json.dumps(answer), model=self.model, usage=usage, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> Any:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class LabelledLM(ShownLM):
    """Is helped by any answer that it is shown."""

    key = "answer"


class TwoSteps(dspex.Program):
    """Say whether a number is even."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    look = dspex.ChainOfThought("question -> parity", demos=dspex.Demos(max=4))
    say = dspex.ChainOfThought("question, parity -> answer", demos=dspex.Demos(max=4))

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        seen = await self.look(question=input.question)
        return self.Output(answer=(await self.say(question=input.question, parity=seen.parity)).answer)


class OneStep(dspex.Program):
    """Say whether a number is even."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    demos = dspex.Demos(max=4, select=["fixed"])


def search(program: dspex.Program, store: Store, **options: Any) -> dspex.Optimized:
    how = {"runtime": "in-process", "workers": 1, "trials": 8, "seed": 1, **options}
    return dspex.optimize(program, ROWS, optimizer="bootstrap_few_shot", store=store, **how)


def shown_to(found: dspex.Optimized, name: str) -> list[dict[str, Any]]:
    demos: list[dict[str, Any]] = found.program.values[name].get("demos", [])
    return demos


def test_both_parts_of_a_program_learn_from_what_it_answered_rightly(store: Store) -> None:
    found = search(TwoSteps().with_lm(ShownLM()), store)
    assert 0.1 < found.baseline < 0.7
    assert found.score == 1.0
    for name, field in (("look.demos", "parity"), ("say.demos", "answer")):
        demos = shown_to(found, name)
        assert 1 <= len(demos) <= 4
        for demo in demos:
            assert demo["output"]["reasoning"]
            assert demo["output"][field] != "no idea"
            number = int(demo["input"]["question"].split()[1])
            assert number % 3 == 0, "only rows that the program answered rightly are shown"


def test_the_demonstrations_of_a_version_are_those_of_train_rows(store: Store) -> None:
    found = search(TwoSteps().with_lm(ShownLM()), store)
    rows = {dspex.example.make_example({"question": one["question"]}, {"answer": one["answer"]}).id for one in ROWS}
    assert {demo["of"] for demo in shown_to(found, "say.demos")} <= rows
    assert found.version.state is not None
    again = dspex.program_from_state({**found.version.state, "program": f"{__name__}:TwoSteps"})
    assert again.values == found.program.values


def test_the_search_ends_when_nothing_more_can_be_won(store: Store) -> None:
    perfect = search(TwoSteps().with_lm(ShownLM(knows=1)), store, trials=20)
    assert perfect.baseline == 1.0
    assert len(perfect.history) <= 2
    learnt = search(TwoSteps().with_lm(ShownLM()), store, trials=20)
    assert len(learnt.history) < 20


def test_demonstrations_that_confuse_do_no_harm(store: Store) -> None:
    found = search(TwoSteps().with_lm(ShownLM(shown="confuses")), store)
    assert found.score == found.baseline
    assert shown_to(found, "say.demos") == shown_to(found, "look.demos") == []
    assert min(fmean(trial.scores) for trial in found.history) == 0.0


def test_with_no_row_right_it_says_so_and_goes_on_with_labelled_ones(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "dspex_ray.program_optimizers"):
        found = search(OneStep().with_lm(LabelledLM(shown="nothing", knows=0)), store)
    assert "0 of them reached the threshold 1" in caplog.text
    assert found.score == 0.0
    assert len(found.history) == 8
    assert search(OneStep().with_lm(LabelledLM(knows=0)), store).score == 1.0


def test_too_few_trials_are_warned_of_with_the_least(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    search(TwoSteps().with_lm(ShownLM()), store, trials=2)
    assert "3 are the least" in caplog.text


def test_the_number_of_workers_changes_nothing(store: Store) -> None:
    one, three = (search(TwoSteps().with_lm(ShownLM(shown="nothing")), store, workers=count) for count in (1, 3))
    assert (one.history, one.score, one.version.hash) == (three.history, three.score, three.version.hash)


def test_a_search_that_is_resumed_with_more_trials_is_that_of_as_many(store: Store) -> None:
    def program() -> dspex.Program:
        return TwoSteps().with_lm(ShownLM(shown="nothing"))

    short = search(program(), store, trials=3)
    longer = search(program(), store, trials=6, resume=short.run_id)
    whole = search(program(), store, trials=6)
    assert (longer.history, longer.score, longer.cost_usd) == (whole.history, whole.score, whole.cost_usd)


@pytest.mark.parametrize("setting", [{"threshold": float("nan")}, {"rows": 0}, {"looks": -1}, {"steps": "first"}])
def test_settings_that_cannot_be_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(OptimizerError, match=next(iter(setting))):
        BootstrapFewShot(ProgramSketch("P", "", (), ()), **setting)


def test_a_program_that_shows_nothing_is_refused() -> None:
    optimizer = BootstrapFewShot(ProgramSketch("P", "", (), ()))
    with pytest.raises(OptimizerError, match="needs a predictor with a Demos variable, P has none"):
        optimizer.start(SearchContext(Space({"terse": Bool()}), 0, 5, (), None, 0, 3))
