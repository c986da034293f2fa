"""Reflective evolution of a whole program, in a small world whose model follows the rules it is told."""

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
RUN = re.compile(r"parcel \d+ holds \w+ goods")
RULE = re.compile(r"'(\w+)' means '(\w+)'")


class RuleLM:
    """Applies the rules `'word' means 'label'` of its instruction, unless it is too warm; asked for an instruction, it
    takes over up to two rules that the feedback names.
    """

    model = "simulated/rules"
    errands: ClassVar[list[str]]

    async def complete(self, request: LMRequest) -> LMReply:
        asked = request.messages[-1].content
        if "diagnosis" in json.dumps(request.response_schema):
            type(self).errands.append(asked)
            answer = self.revised(asked)
        else:
            rules = dict(RULE.findall(request.messages[0].content))
            warm = (request.temperature or 0.0) > 0.5 and int(re.findall(r"\d+", asked)[0]) % 2
            label = next((rules[word] for word in asked.split() if word in rules), "unknown")
            answer = {"label": "unknown" if warm else label}
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=json.dumps(answer), model=self.model, usage=usage, cost_usd=0.001)

    def revised(self, asked: str) -> dict[str, Any]:
        present, _, runs = asked.partition("runs:")
        known = dict(RULE.findall(present))
        new = [pair for pair in dict.fromkeys(RULE.findall(runs)) if pair[0] not in known][:2]
        rules = [*known.items(), *new]
        return {"diagnosis": "rules", "instruction": " ".join(f"'{word}' means '{label}'." for word, label in rules)}

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class CopyingLM(RuleLM):
    """Writes instructions that repeat a question it was shown."""

    def revised(self, asked: str) -> dict[str, Any]:
        return {**super().revised(asked), "instruction": f"As in: {re.findall(RUN, asked)[0]}!"}


class LongLM(RuleLM):
    """Writes instructions without end."""

    def revised(self, asked: str) -> dict[str, Any]:
        return {**super().revised(asked), "instruction": super().revised(asked)["instruction"] * 2_000}


class BrokenLM(RuleLM):
    """Answers a reflection with what cannot be read."""

    def revised(self, asked: str) -> dict[str, Any]:
        return {"advice": 3}


class Sort(dspex.Program):
    """Say where a parcel goes."""

    class Input(dspex.Schema):
        text: str

    class Output(dspex.Schema):
        label: str

    temperature = dspex.Float(0.0, 1.0, default=0.9)


def told_why(example: Any, output: Any) -> tuple[float, str | None]:
    right = example.output["label"]
    if output.label == right:
        return 1.0, None
    word = example.input["text"].split()[3]
    return 0.0, f"It goes {right}, since '{word}' means '{right}'." if word in KEYS else None


@pytest.fixture
def search(make_store: Callable[[], Store]) -> Callable[..., dspex.Optimized]:
    RuleLM.errands = []

    def run(lm: RuleLM, **options: Any) -> dspex.Optimized:
        defaults = {"optimizer": "reflective", "trials": 60, "workers": 1, "runtime": "in-process", "seed": 3}
        store = options.pop("store", None) or make_store()
        return dspex.optimize(Sort().with_lm(lm), ROWS, metric=told_why, store=store, **{**defaults, **options})

    return run


def test_it_finds_rules_and_number_together_where_random_search_at_equal_calls_finds_neither(
    search: Callable[..., dspex.Optimized], make_store: Callable[[], Store]
) -> None:
    store, other = make_store(), make_store()
    found = search(RuleLM(), store=store)
    assert found.score == 1.0
    assert found.baseline == 0.0
    assert set(RULE.findall(found.program.instruction)) == set(KEYS.items())
    assert found.program.values["temperature"] <= 0.5
    calls = store.totals(run_id=found.run_id).calls
    drawn = search(RuleLM(), store=other, optimizer="random", trials=calls // 12 + 1)
    assert other.totals(run_id=drawn.run_id).calls >= calls
    assert drawn.score < 0.5


def test_a_search_ends_when_all_validation_rows_are_right(search: Callable[..., dspex.Optimized]) -> None:
    short, long = search(RuleLM(), trials=60), search(RuleLM(), trials=400)
    assert short.score == long.score == 1.0
    assert short.history == long.history


def test_reflections_see_train_rows_only_and_few_of_them(search: Callable[..., dspex.Optimized]) -> None:
    search(RuleLM(), trials=12)
    assert RuleLM.errands
    for asked in RuleLM.errands:
        assert asked.count("feedback: It goes") in range(1, 9)
        assert len(asked) < 24_000


@pytest.mark.parametrize("lm", [CopyingLM, LongLM, BrokenLM])
def test_instructions_that_copy_rows_or_grow_or_cannot_be_read_are_never_tried(
    search: Callable[..., dspex.Optimized], lm: type[RuleLM]
) -> None:
    found = search(lm(), trials=8)
    assert RuleLM.errands
    assert {trial.candidate.values["instruction"] for trial in found.history} == {"Say where a parcel goes."}


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_changes_nothing(search: Callable[..., dspex.Optimized], workers: int) -> None:
    one, many = search(RuleLM(), trials=8), search(RuleLM(), trials=8, workers=workers)
    assert one.history == many.history
    assert one.version.hash == many.version.hash


class HeldLM(RuleLM):
    """Answers `free` calls at once, and the others when `gate` is opened."""

    free: ClassVar[int]
    gate: ClassVar[threading.Event]

    async def complete(self, request: LMRequest) -> LMReply:
        type(self).free -= 1
        while type(self).free < 0 and not type(self).gate.is_set():  # noqa: ASYNC110 - an event of another thread
            await asyncio.sleep(0.002)
        return await super().complete(request)


@pytest.mark.parametrize("calls", [14, 21, 33, 47, 60, 90, 130])
def test_a_run_that_is_broken_off_anywhere_ends_as_if_it_had_not(
    search: Callable[..., dspex.Optimized], make_store: Callable[[], Store], calls: int
) -> None:
    whole, store = search(RuleLM(), trials=20), make_store()
    HeldLM.free, HeldLM.gate = calls, threading.Event()

    def stop(_: Mapping[str, Any]) -> None:
        if HeldLM.free < 0:
            raise KeyboardInterrupt

    with pytest.raises(dspex.InterruptedRunError) as caught:
        search(HeldLM(), trials=20, store=store, progress=stop)
    HeldLM.gate.set()
    resumed = search(HeldLM(), trials=20, store=store, resume=caught.value.run_id)
    assert resumed.history == whole.history
    assert resumed.version.state == whole.version.state
    assert -1e-9 < resumed.cost_usd - whole.cost_usd < 0.0165  # of the unit in flight calls may be answered twice


class TwoCallLM(RuleLM):
    """Picks the right word once told to take the material, and sends it by the rules; else as `RuleLM`."""

    async def complete(self, request: LMRequest) -> LMReply:
        told, asked = request.messages[0].content, request.messages[-1].content
        if '"word"' not in told.partition("JSON schema:")[2]:
            return await super().complete(request)
        words = asked.split()
        word = words[3] if "'word' means 'material'" in told else words[0]
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=json.dumps({"word": word}), model=self.model, usage=usage, cost_usd=0.001)

    def revised(self, asked: str) -> dict[str, Any]:
        revised = super().revised(asked)
        picks = "pick, one of 2" in asked
        rules = [rule for rule in RULE.findall(revised["instruction"]) if (rule[0] == "word") == picks]
        return {**revised, "instruction": " ".join(f"'{word}' means '{label}'." for word, label in rules) or "None."}


class PickAndSend(dspex.Program):
    """Pick the word that counts, and say where it goes."""

    class Input(dspex.Schema):
        text: str

    class Output(dspex.Schema):
        label: str

    pick = dspex.Predict("text -> word", demos=None)
    send = dspex.Predict("word -> label", demos=None)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        picked = await self.pick(text=input.text)
        return self.Output(label=(await self.send(word=picked.word)).label)


def told_both(example: Any, output: Any) -> tuple[float, str | None]:
    score, feedback = told_why(example, output)
    return score, feedback and f"'word' means 'material'. {feedback}"


@pytest.mark.parametrize("seed", [1, 2])
def test_every_call_of_a_program_is_told_what_it_lacks(make_store: Callable[[], Store], seed: int) -> None:
    RuleLM.errands = []
    options: dict[str, Any] = {"runtime": "in-process", "workers": 1, "seed": seed, "optimizer": "reflective"}
    program, store = PickAndSend().with_lm(TwoCallLM()), make_store()
    found = dspex.optimize(program, ROWS, metric=told_both, trials=80, store=store, **options)
    assert found.baseline == 0.0
    assert found.score == 1.0
    best = next(trial.candidate.values for trial in found.history if trial.mean == 1.0 and len(trial.rows) == 12)
    assert best["pick.instruction"] == "'word' means 'material'."
    assert set(RULE.findall(best["send.instruction"])) <= set(KEYS.items())
