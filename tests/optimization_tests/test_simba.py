"""SIMBA for a whole program, in a small world whose model follows the advice it is given."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar

import pytest

import dspex_ray as dspex
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.store import Store

KEYS = {"velvet": "north", "copper": "south", "maple": "east", "granite": "west", "cobalt": "up", "amber": "down"}
ROWS = [
    {"text": f"parcel {number} holds {word} goods", "label": label}
    for number in range(10)
    for word, label in KEYS.items()
]
RULE = re.compile(r"'(\w+)' means '(\w+)'")


class AdvisedLM:
    """Applies the rules `'word' means 'label'` of its instruction, unless it is too warm; asked for advice, it gives
    two of the rules that the expected outputs give away.
    """

    model = "simulated/advised"
    errands: ClassVar[list[str]]

    async def complete(self, request: LMRequest) -> LMReply:
        told, asked = request.messages[0].content, request.messages[-1].content
        if "discussion" in json.dumps(request.response_schema):
            type(self).errands.append(asked)
            answer = self.advice(asked)
        else:
            rules = dict(RULE.findall(told))
            warm = (request.temperature or 0.0) > 0.5 and int(re.findall(r"\d+", asked)[0]) % 2
            label = next((rules[word] for word in asked.split() if word in rules), "unknown")
            answer = {"label": "unknown" if warm else label}
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=json.dumps(answer), model=self.model, usage=usage, cost_usd=0.001)

    def advice(self, asked: str) -> dict[str, Any]:
        shown = [word for word in KEYS if f"holds {word}" in asked]
        return {"discussion": "rules", "advice": [f"'{word}' means '{KEYS[word]}'." for word in shown[:2]]}

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class BrokenLM(AdvisedLM):
    """Answers a request for advice with what cannot be read."""

    def advice(self, asked: str) -> dict[str, Any]:
        return {"diagnosis": 3}


class Sort(dspex.Program):
    """Say where a parcel goes."""

    class Input(dspex.Schema):
        text: str

    class Output(dspex.Schema):
        label: str

    temperature = dspex.Float(0.0, 1.0, default=0.9)


def is_right(example: Any, output: Any) -> float:
    return float(output.label == example.output["label"])


@pytest.fixture
def search(make_store: Callable[[], Store]) -> Callable[..., dspex.Optimized]:
    AdvisedLM.errands = []

    def run(lm: AdvisedLM, **options: Any) -> dspex.Optimized:
        defaults = {"optimizer": "simba", "trials": 60, "workers": 1, "runtime": "in-process", "seed": 3}
        store = options.pop("store", None) or make_store()
        metric = options.pop("metric", is_right)
        return dspex.optimize(Sort().with_lm(lm), ROWS, metric=metric, store=store, **{**defaults, **options})

    return run


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_finds_rules_and_number_together_where_random_search_at_equal_calls_finds_neither(
    search: Callable[..., dspex.Optimized], make_store: Callable[[], Store], seed: int
) -> None:
    store, other = make_store(), make_store()
    found = search(AdvisedLM(), store=store, seed=seed)
    assert found.baseline == 0.0
    assert found.score is not None
    assert found.score >= 0.5
    assert found.program.values["temperature"] <= 0.5
    calls = store.totals(run_id=found.run_id).calls
    drawn = search(AdvisedLM(), store=other, optimizer="random", trials=calls // 12 + 1, seed=seed)
    assert other.totals(run_id=drawn.run_id).calls >= calls
    assert drawn.score == 0.0


def test_advice_that_cannot_be_read_makes_no_candidate(search: Callable[..., dspex.Optimized]) -> None:
    found = search(BrokenLM(), trials=12)
    assert AdvisedLM.errands
    assert {trial.candidate.values["instruction"] for trial in found.history} == {"Say where a parcel goes."}


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_changes_nothing(search: Callable[..., dspex.Optimized], workers: int) -> None:
    one, many = search(AdvisedLM(), trials=12), search(AdvisedLM(), trials=12, workers=workers)
    assert one.history == many.history
    assert one.version.hash == many.version.hash


class HeldLM(AdvisedLM):
    """Answers `free` calls at once, and the others when `gate` is opened."""

    free: ClassVar[int]
    gate: ClassVar[threading.Event]

    async def complete(self, request: LMRequest) -> LMReply:
        type(self).free -= 1
        while type(self).free < 0 and not type(self).gate.is_set():  # noqa: ASYNC110 - an event of another thread
            await asyncio.sleep(0.002)
        return await super().complete(request)


@pytest.mark.parametrize("calls", [14, 33, 60, 110])
def test_a_run_that_is_broken_off_anywhere_ends_as_if_it_had_not(
    search: Callable[..., dspex.Optimized], make_store: Callable[[], Store], calls: int
) -> None:
    whole, store = search(AdvisedLM(), trials=15), make_store()
    HeldLM.free, HeldLM.gate = calls, threading.Event()

    def stop(_: Mapping[str, Any]) -> None:
        if HeldLM.free < 0:
            raise KeyboardInterrupt

    with pytest.raises(dspex.InterruptedRunError) as caught:
        search(HeldLM(), trials=15, store=store, progress=stop)
    HeldLM.gate.set()
    resumed = search(HeldLM(), trials=15, store=store, resume=caught.value.run_id)
    assert resumed.history == whole.history
    assert resumed.version.state == whole.version.state
