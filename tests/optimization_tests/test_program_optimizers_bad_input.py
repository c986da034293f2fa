"""What is wrong with rows, metrics and programs, and what every optimizer of programs makes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_coordination.sweep import SweepStore
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS, program_optimizer_settings
from dspex_ray.store import Store

ROWS = [{"word": f"word {n}", "kind": "abc"[n % 3]} for n in range(30)]
each_optimizer = pytest.mark.parametrize("optimizer", PROGRAM_OPTIMIZERS)


class Guess:
    """Says that it is kind a, and writes an instruction where it is asked for one."""

    model = "simulated/guess"
    asked = 0

    async def complete(self, request: LMRequest) -> LMReply:
        type(self).asked += 1
        asked = " ".join(one.content for one in request.messages)
        said = {
            "kind": "a",
            **{name: f"Look well, {type(self).asked}." for name in ("instruction", "advice") if name in asked},
        }
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=json.dumps(said), model=self.model, usage=usage, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class Kind(dspex.Predict):
    """Say the kind."""

    class Input(dspex.Schema):
        word: str

    class Output(dspex.Schema):
        kind: str

    demos = dspex.Demos(max=3)


class Sound(dspex.Predict):
    """Say the sound."""

    class Input(dspex.Schema):
        word: str

    class Output(dspex.Schema):
        kind: str

    demos = dspex.Demos(max=3)


class Counted(dspex.Program):
    """Say the kind, by a rule: no model is asked."""

    class Input(dspex.Schema):
        word: str

    class Output(dspex.Schema):
        kind: str

    length = dspex.Int(1, 5)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        return self.Output(kind="abc"[len(input.word) % 3])


def search(store: Store, optimizer: str, program: dspex.Program | None = None, **options: Any) -> dspex.Optimized:
    asked = {"runtime": "in-process", "workers": 1, "store": store, "trials": 12, "data": ROWS}
    return dspex.optimize((program or Kind()).with_lm(Guess()), optimizer=optimizer, **{**asked, **options})


def none(example: Any, output: Any) -> float:
    return 0.0


def half(example: Any, output: Any) -> float:
    return 0.5


def broken(example: Any, output: Any) -> float:
    raise ZeroDivisionError("division by zero")


def nowhere(example: Any, output: Any) -> float:
    return float("nan")


def wordy(example: Any, output: Any) -> Any:
    return "good"


@each_optimizer
@pytest.mark.parametrize("rows", [2, 4])
def test_fewer_rows_than_a_minibatch_are_searched_with_what_there_is(store: Store, optimizer: str, rows: int) -> None:
    large = {"minibatch": 50} if "minibatch" in program_optimizer_settings(optimizer) else {}
    for settings in ({}, large):
        found = search(store, optimizer, data=ROWS[:rows], settings=settings)
        assert found.baseline is not None
        assert found.score >= found.baseline
        assert any("a wide interval" in warning for warning in found.warnings)


@each_optimizer
@pytest.mark.parametrize("metric", [none, half])
def test_with_all_scores_equal_it_ends_with_a_warning_and_the_untuned_program(
    store: Store, optimizer: str, metric: Any
) -> None:
    found = search(store, optimizer, metric=metric)
    assert found.score == found.baseline == metric(None, None)
    assert found.program.values == Kind().values
    assert found.program.instructions in ({}, {"": str(Kind().instruction)})
    assert "No candidate was better than the untuned program." in found.warnings


@each_optimizer
@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (broken, r"Metric broken failed on row 0 \(example \w+\): ZeroDivisionError: division by zero"),
        (nowhere, r"Metric nowhere gave nan on row 0 .* a number from 0 to 1"),
        (wordy, r"Metric wordy gave 'good' on row 0 .* a number from 0 to 1"),
    ],
)
def test_a_metric_that_breaks_ends_the_search_with_its_name_and_the_row(
    store: Store, optimizer: str, metric: Any, said: str
) -> None:
    with pytest.raises(dspex.DspexError, match=said):
        search(store, optimizer, metric=metric)
    assert SweepStore(store.database).list_sweeps() == ()


@each_optimizer
def test_a_metric_that_breaks_on_a_later_row_gives_no_score_to_anybody(store: Store, optimizer: str) -> None:
    seen: list[str] = []

    def at_times(example: Any, output: Any) -> float:
        seen.append(example.input["word"])
        return float("nan") if example.input["word"] == held[-1] else 1.0

    dataset = dspex.load_data(ROWS, Kind)
    held = [one.input["word"] for one in dataset.split(0)[1].examples]
    with pytest.raises(dspex.DspexError, match=rf"No candidate .* at_times gave nan on row {len(held) - 1} "):
        search(store, optimizer, metric=at_times)


@each_optimizer
def test_a_metric_that_breaks_on_a_train_row_is_warned_of_and_is_no_score(store: Store, optimizer: str) -> None:
    held = {one.input["word"] for one in dspex.load_data(ROWS, Kind).split(0)[1].examples}

    def at_times(example: Any, output: Any) -> float:
        return 0.5 if example.input["word"] in held else float("nan")

    found = search(store, optimizer, metric=at_times)
    assert found.score == found.baseline == 0.5
    assert not any(trial.scores for trial in found.history if trial.split == "train")
    looked = any(trial.split == "train" for trial in found.history)
    assert not looked or any("at_times gave nan on row" in warning for warning in found.warnings)


@pytest.mark.parametrize("optimizer", ["bootstrap_few_shot", "labelled_few_shot", "reflective"])
def test_a_program_that_it_cannot_tune_is_refused_with_the_optimizers_that_can(store: Store, optimizer: str) -> None:
    with pytest.raises(
        dspex.UsageError, match=rf"(?s){optimizer} .*Counted.* can be done by beacon_programs, .*simba\."
    ):
        search(store, optimizer, Counted())
    assert SweepStore(store.database).list_sweeps() == ()


@each_optimizer
def test_a_program_with_nothing_to_tune_is_refused(store: Store, optimizer: str) -> None:
    class Fixed(Counted):
        """Say the kind."""

        length = 3

    with pytest.raises(dspex.NothingToTuneError, match="declares no variable"):
        search(store, optimizer, Fixed())


@each_optimizer
def test_a_version_of_another_program_is_no_beginning(store: Store, optimizer: str) -> None:
    found = search(store, optimizer, trials=12)
    with pytest.raises(dspex.ProgramError, match="Sound"):
        search(store, optimizer, Sound().with_state(found.version.state or {}))
    with pytest.raises(dspex.UsageError, match="program: was "):
        search(store, optimizer, Sound(), resume=found.run_id)
    with pytest.raises(dspex.DspexError, match="nowhere"):
        search(store, optimizer, early=[{"nowhere": 1}])
