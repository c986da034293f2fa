"""Score, cost and prompt length at once: a model that answers the better the more it is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_coordination.objectives.comparison import dominates, gains
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.tokens import count_prompt_tokens
from dspex_ray.optimized import Optimized
from dspex_ray.store import Store

THREE = ("score", "cost_usd", "prompt_tokens")
ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(60)]


class Attentive:
    """Is right on a tenth of the questions more for each time it is told to take care; writes instructions too."""

    model = "test/attentive"

    async def complete(self, request: LMRequest) -> LMReply:
        said = "\n".join(message.content for message in request.messages)
        if "instruction" in ((request.response_schema or {}).get("properties") or {}):
            times = 1 + (len(said) + request.rollout_id) % 8
            text = f'{{"instruction": "Answer the question.{" Take care." * times}"}}'
        else:
            number = int(re.findall(r"is (\d+) even", said)[-1])
            right = number * 7 % 10 < 2 + said.count("Take care")
            text = f'{{"answer": "{"yes" if (number % 2 == 0) == right else "no"}"}}'
        tokens = count_prompt_tokens(request.messages)
        usage = Usage(prompt_tokens=tokens, completion_tokens=3)
        return LMReply(text=text, model=self.model, usage=usage, cost_usd=tokens * 1e-6)

    async def stream(self, request: LMRequest) -> Any:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class Free(dspex.Program):
    """Answer the question."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    demos: Any = dspex.Demos(max=2)


class Pooled(Free):
    """Answer the question."""

    instruction = dspex.Text("Answer the question.", pool=["Answer." + " Take care." * times for times in range(8)])
    demos: Any = None


def optimized(store: Store, optimizer: str, **options: Any) -> Optimized:
    program = (Pooled if optimizer == "nsga2" else Free)().with_lm(Attentive())
    asked: dict[str, Any] = {"trials": 16, "workers": 1, "runtime": "in-process", "objectives": THREE, **options}
    return dspex.optimize(program, ROWS[:30], validation=ROWS[30:], optimizer=optimizer, store=store, **asked)


@pytest.mark.parametrize("optimizer", ["beacon_programs", "genetic_programs", "nsga2"])
def test_the_front_goes_from_short_instructions_to_good_ones(store: Store, optimizer: str) -> None:
    found = optimized(store, optimizer)
    points = [gains(trial.measures, found.objectives) for trial in found.pareto]
    assert len(points) > 2
    assert not any(dominates(one, other) for one in points for other in points)
    short, good = (found.pick(one) for one in ("cheap", "quality"))
    told = [str(found.pick_trial(one).candidate.values["instruction"]) for one in ("cheap", "quality")]
    assert len(told[0]) < len(told[1])
    assert found.pick_trial("quality").measures["score"] > (found.baseline or 0.0) + 0.2
    assert {found.version_of(short).number, found.version_of(good).number} <= {one.number for one in found.versions}
    limit = found.pick_trial("cheap").measures["prompt_tokens"]
    assert found.pick(prompt_tokens=limit).values == short.values


def test_an_optimizer_of_one_objective_says_so_before_the_model_is_asked(store: Store) -> None:
    with pytest.raises(dspex.UsageError, match="objective"):
        optimized(store, "reflective")
    assert store.totals().calls == 0


def test_a_genetic_search_finds_longer_instructions_by_the_score_alone(store: Store) -> None:
    found = optimized(store, "genetic_programs", objectives=["score"])
    assert found.score > (found.baseline or 0.0) + 0.3
    assert str(found.program.instruction).count("Take care") > 2


def test_a_bound_on_the_prompt_length_holds_in_a_genetic_search(store: Store) -> None:
    free = optimized(store, "genetic_programs", objectives=["score"])
    limit = free.history[0].measures["prompt_tokens"] + 12
    found = optimized(
        store, "genetic_programs", objectives=["score"], bounds=[dspex.Bound("prompt_tokens", at_most=limit)]
    )
    best = next(trial for trial in found.history if trial.number == found.version.facts["trial"])
    assert best.measures["prompt_tokens"] <= limit
    assert found.score > (found.baseline or 0.0)


def test_a_genetic_search_is_the_same_for_any_number_of_workers(store: Store) -> None:
    one, three = (optimized(store, "genetic_programs", trials=10, workers=workers) for workers in (1, 3))
    assert [trial.candidate for trial in one.history] == [trial.candidate for trial in three.history]
    assert one.version.hash == three.version.hash


def test_a_genetic_search_goes_on_where_it_was_stopped(store: Store) -> None:
    begun = optimized(store, "genetic_programs", trials=10, stop=dspex.TrialsDone(4))
    resumed = optimized(store, "genetic_programs", trials=10, resume=begun.run_id)
    assert len(resumed.history) > len(begun.history)
    assert resumed.history[: len(begun.history)] == begun.history
