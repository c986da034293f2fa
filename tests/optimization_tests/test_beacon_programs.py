"""BEACON for programs: rounds of looks and proposals, and texts, demonstrations and numbers chosen together."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_coordination import Ask, Candidate, Demos, Float, OptimizerError, SearchContext, Space, Told
from dspex_coordination.conditions import V
from dspex_coordination.objectives import COST, SCORE, Leaders
from dspex_coordination.variables import Choice, Text
from dspex_ray.example import make_example
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.program_optimizers.beacon_programs import BeaconPrograms
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch
from dspex_ray.store import Store

ROWS = tuple(make_example({"question": f"question {n}"}, {"answer": f"answer {n % 3}"}) for n in range(12))
IN, OUT = (FieldSketch("question", "str", ""),), (FieldSketch("answer", "str", ""),)
SKETCH = ProgramSketch("Answer", "Answer.", (Predictor("", "Answer.", "instruction", "demos", 8, IN, OUT),), ROWS)
SPACE = Space({"instruction": Text("Answer."), "demos": Demos(max=8), "temperature": Float(0, 1.5, default=0.2)})


def quality(values: Mapping[str, Any]) -> float:
    """The share of rows answered right: the text that is best at the default temperature is not the best of all.

    "Explore" needs a high temperature and demonstrations of the program's own; "Recite" does well at the default one.
    """
    text, heat = str(values["instruction"]), float(values["temperature"])
    made: bool = values["demos"]["select"] == "given"
    if text.startswith("Explore"):
        return max(0.2, 0.5 + 0.3 * made + 0.2 * made * heat - 0.6 * abs(heat - 1.1))
    if text.startswith("Recite"):
        return 0.7 - 0.3 * abs(heat - 0.2)
    return 0.3 + 0.1 * made


@dataclass
class World:
    """Runs a search to its end, one trial after the other; the writer's texts come in a fixed order."""

    texts: tuple[str, ...] = ("Recite it.", "Explore it.", "Look it up.")
    asks: list[Ask] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def run(self, optimizer: BeaconPrograms, context: SearchContext) -> World:
        optimizer.start(context)
        while (ask := optimizer.ask(0)) is not None:
            self.told.append(self.answer(len(self.asks), ask, context))
            self.asks.append(ask)
            optimizer.tell(self.told[-1])
        return self

    def answer(self, number: int, ask: Ask, context: SearchContext) -> Told:
        if ask.split == "errand":
            text = self.texts[sum(one.split == "errand" for one in self.asks) % len(self.texts)]
            return Told(number, ask.candidate, "errand", (0,), (None,), ({"instruction": text},), 0.0, None)
        rows = ask.rows or tuple(range(context.validation_rows))
        worth = quality(ask.candidate.values)
        scores = tuple(float((row * 37 % 200 + 0.5) / 200 < worth) for row in rows)
        notes = tuple(self.note(row) for row in rows) if ask.traced else ()
        cost = {"cost_usd": 0.001 + 0.001 * ask.candidate.values["temperature"]}
        return Told(number, ask.candidate, ask.split, rows, scores, (None,) * len(rows), 0.0, None, cost, notes)

    def note(self, row: int) -> dict[str, Any]:
        step = {"place": "", "input": ROWS[row].input, "output": ROWS[row].output}
        return {"error": None, "feedback": None, "trace": [step]}

    def of(self, split: str) -> list[Ask]:
        return [ask for ask in self.asks if ask.split == split]


def context_of(space: Space = SPACE, *, seed: int = 0, trials: int = 28, **more: Any) -> SearchContext:
    ids, labels = tuple(one.id for one in ROWS), tuple(str(one.output["answer"]) for one in ROWS)
    return SearchContext(space, seed, trials, ids, labels, len(ROWS), 200, **more)


def found(space: Space = SPACE, *, seed: int = 0, settings: Mapping[str, Any] | None = None, **more: Any) -> World:
    optimizer = BeaconPrograms(SKETCH, **{"proposals": 3, "rounds": 1, "block": 200, **(settings or {})})
    return World().run(optimizer, context_of(space, seed=seed, **more))


def best_score(world: World) -> float:
    return max(told.mean or 0.0 for told in world.told if told.split == "validation")


def best_of_prompts_first_then_numbers() -> float:
    def of(text: str, select: str, heat: float) -> float:
        return quality({"instruction": text, "demos": {"select": select}, "temperature": heat})

    texts = ("Answer.", "Recite it.", "Explore it.", "Look it up.")
    prompts = itertools.product(texts, ("fixed", "nearest", "given"))
    _, text, select = max((of(text, select, 0.2), text, select) for text, select in prompts)
    return max(of(text, select, step / 100) for step in range(151))


def test_joint_search_beats_the_best_that_prompts_first_then_numbers_can_find() -> None:
    then = best_of_prompts_first_then_numbers()
    joint = [best_score(found(seed=seed)) for seed in range(24)]
    # what goes together lies in a corner: of 28 trials, one search in four does not come upon it and stays at `then`
    assert sum(score > then for score in joint) >= 18
    assert sum(joint) / 24 > then + 0.18


def test_the_default_comes_first_then_a_look_then_proposals_then_the_search() -> None:
    world = found()
    assert [ask.split for ask in world.asks[:6]] == ["validation", "train", "errand", "errand", "errand", "validation"]
    look = world.asks[1]
    assert look.traced
    assert look.candidate == SPACE.default()
    assert look.rows == tuple(range(12))
    assert sum(ask.split != "errand" for ask in world.asks) == 28
    texts = {ask.candidate.values["instruction"] for ask in world.of("validation")}
    assert texts == {"Answer.", "Recite it.", "Explore it.", "Look it up."}


def test_a_later_round_looks_at_the_best_and_asks_with_what_it_is_told() -> None:
    world = found(settings={"rounds": 2, "every": 6})
    looks = [number for number, ask in enumerate(world.asks) if ask.split == "train"]
    assert len(looks) == 2
    before = [told for told in world.told[: looks[1]] if told.split == "validation"]
    best = max(before, key=lambda told: (told.mean or 0.0, -told.number))
    assert world.asks[looks[1]].candidate == best.candidate
    asked = [ask.candidate.values for ask in world.asks[looks[1] :] if ask.split == "errand"]
    assert len(asked) == 3
    assert {one["input"]["present_instruction"] for one in asked} == {best.candidate.values["instruction"]}
    assert {len(one["input"]["failures"]) for one in asked} != {0}


def test_of_many_rows_a_few_show_who_deserves_them_all() -> None:
    some, all_rows = found(trials=14, settings={"block": None}), found(trials=14)
    looks = [len(told.rows) for told in some.told if told.split == "validation"]
    assert set(looks) <= {25, 50, 100, 200}
    assert {25, 200} <= set(looks)
    assert sum(ask.rows is not None for ask in some.of("validation")) > 2 * len(all_rows.of("validation"))
    whole = [told for told in some.told if told.split == "validation" and len(told.rows) == 200]
    assert len({told.candidate.key for told in whole}) == len(whole)
    most: dict[str, int] = {}
    for told in some.told:
        if told.split == "validation":
            most[told.candidate.key] = max(most.get(told.candidate.key, 0), len(told.rows))
    assert sum(most.values()) <= 14 * 200 + 200
    assert max(told.mean or 0.0 for told in whole) >= best_score(all_rows)


def test_demonstrations_the_program_made_name_the_row_they_are_of() -> None:
    sets = [ask.candidate.values["demos"] for ask in found().of("validation")]
    made = [demo for one in sets if one["select"] == "given" for demo in one["demos"]]
    by_question = {one.input["question"]: one for one in ROWS}
    assert made
    assert all(demo["of"] == by_question[demo["input"]["question"]].content_id for demo in made)


def test_conditions_and_constraints_of_the_program_are_kept() -> None:
    space = Space(
        {
            **SPACE.variables,
            "model": Choice(["small", "large"]),
            "depth": Choice([1, 2, 3], when=V("model") == "large"),
        },
        [(V("model") == "small") | (V("temperature") <= 1.0)],
    )
    world = found(space)
    bound = space.bind(tuple(one.id for one in ROWS))
    assert all(bound.feasible(ask.candidate.values) for ask in world.of("validation"))
    assert {ask.candidate.values["model"] for ask in world.of("validation")} == {"small", "large"}


def test_an_instruction_with_a_pool_of_its_own_keeps_to_it() -> None:
    space = Space({**SPACE.variables, "instruction": Text("Answer.", pool=["Recite it."])})
    world = found(space)
    assert not world.of("errand")
    assert {ask.candidate.values["instruction"] for ask in world.of("validation")} == {"Answer.", "Recite it."}


def test_a_text_too_long_for_its_variable_or_copied_is_never_tried() -> None:
    space = Space({**SPACE.variables, "instruction": Text("Answer.", max_chars=12)})
    world = found(space)
    assert {ask.candidate.values["instruction"] for ask in world.of("validation")} == {
        "Answer.", "Recite it.", "Explore it.", "Look it up.",
    }  # fmt: skip
    texts = ("An answer of far too many characters", "Answer.  ", "Explore it.")
    short = World(texts=texts).run(BeaconPrograms(SKETCH, proposals=3, rounds=1), context_of(space))
    assert {ask.candidate.values["instruction"] for ask in short.of("validation")} == {"Answer.", "Explore it."}


def test_texts_and_sets_of_earlier_runs_are_chosen_from_too() -> None:
    first = found(seed=1)
    earlier = tuple(told for told in first.told if told.split == "validation")
    again = found(seed=2, trials=8, settings={"rounds": 0}, earlier=earlier)
    assert not again.of("errand")
    assert best_score(again) >= best_score(first) - 0.1
    assert any(ask.candidate.values["instruction"] == "Explore it." for ask in again.of("validation"))


def test_failed_looks_and_errands_leave_the_search_what_there_is() -> None:
    class Broken(World):
        def answer(self, number: int, ask: Ask, context: SearchContext) -> Told:
            if ask.split == "validation":
                return super().answer(number, ask, context)
            return Told(number, ask.candidate, ask.split, (), (), (), 0.0, "boom")

    world = Broken().run(BeaconPrograms(SKETCH, block=200), context_of(trials=14))
    assert sum(ask.split != "errand" for ask in world.asks) == 14
    assert {ask.candidate.values["instruction"] for ask in world.of("validation")} == {"Answer."}


def test_several_objectives_are_searched_together() -> None:
    goals = (SCORE, COST)
    world = found(seed=2, trials=40, objectives=goals)
    leaders: Leaders[Told] = Leaders(context_of(objectives=goals))
    for told in world.told:
        if told.split == "validation":
            leaders.add(told)
    costs = [told.measures["cost_usd"] for told in leaders.front]
    assert len(costs) > 2
    assert min(costs) < 0.0011
    assert best_score(world) > 0.6


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(OptimizerError, match="at least 1, got 4, None, 0, 8 and None"):
        BeaconPrograms(SKETCH, every=0)


class Parity(dspex.Predict):
    """Answer."""

    temperature = dspex.Float(0.0, 1.0, default=0.1)

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str


class ToldLM:
    """Knows parity only if told what it is, and while cool; asked for an instruction it says so if shown failures."""

    model = "simulated/told"

    async def complete(self, request: LMRequest) -> LMReply:
        whole = "\n".join(str(message.content) for message in request.messages)
        if "most_characters" in whole or "most characters" in whole:
            text = '{"instruction": "Say yes for even numbers and no for odd ones."}'
        else:
            number = int(next(word for word in whole.split()[::-1] if word.isdigit()))
            knows = "odd ones" in whole and (request.temperature or 0.0) < 0.5
            text = f'{{"answer": "{"yes" if number % 2 == 0 or not knows else "no"}"}}'
        return LMReply(text=text, model=self.model, usage=Usage(prompt_tokens=5, completion_tokens=5), cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


def optimized(store: Store, **options: Any) -> dspex.Optimized:
    rows = [{"question": f"is {n} even?", "answer": "no" if n % 2 else "yes"} for n in range(30)]
    program = Parity().with_lm(ToldLM())
    return dspex.optimize(
        program, rows, optimizer="beacon_programs", runtime="in-process", store=store, seed=2, **options
    )


def test_a_program_is_told_what_a_model_wrote_for_it(store: Store) -> None:
    result = optimized(store, trials=6, workers=1)
    assert (result.baseline or 0.0) < 0.9
    assert result.score == 1.0
    assert result.program.instruction == "Say yes for even numbers and no for odd ones."


def test_trials_of_many_validation_rows_count_whole_looks(store: Store) -> None:
    held = [{"question": f"is {n} even?", "answer": "no" if n % 2 else "yes"} for n in range(100, 180)]
    result = optimized(store, trials=4, workers=2, validation=held)
    looks = [len(trial.scores) for trial in result.history if trial.split == "validation"]
    assert result.score == 1.0
    assert looks[0] == 80
    assert looks.count(16) > 3
    assert len(result.history) > 4


def test_a_run_resumed_with_more_trials_is_the_run_of_as_many(make_store: Any) -> None:
    def history(result: dspex.Optimized) -> list[tuple[Candidate, Any]]:
        return [(trial.candidate, trial.scores) for trial in result.history]

    whole = optimized(make_store(), trials=8, workers=2)
    store = make_store()
    short = optimized(store, trials=4, workers=2)
    longer = optimized(store, trials=8, workers=2, resume=short.run_id)
    assert len(short.history) == 4
    assert history(longer) == history(whole)
