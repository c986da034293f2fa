"""What SIMBA does where DSPy's goes wrong, on its state machine and its parts."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dspex_coordination import Demos, Float, Space, Text
from dspex_coordination.optimizers import Ask, SearchContext, Told
from dspex_ray.example import Example
from dspex_ray.program_optimizers.simba import Simba
from dspex_ray.program_optimizers.simba_changes import Changed, Changes
from dspex_ray.program_optimizers.simba_runs import Run
from dspex_ray.program_optimizers.simba_scores import Entry, estimates, softmax
from dspex_ray.program_optimizers.simba_steps import batch_of
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

FIELDS = (FieldSketch("text", "str", ""),)
CALLS = tuple(Predictor(one, f"Do {one}.", f"{one}.instruction", f"{one}.demos", 2, FIELDS, FIELDS) for one in "ab")
ROWS = tuple(Example(f"e{i}", {"text": f"in {i}"}, {"text": f"out {i}"}) for i in range(12))
SKETCH = ProgramSketch("Two", "First a, then b.", CALLS, ROWS)
SPACE = Space(
    {
        "a.instruction": Text("Do a."),
        "b.instruction": Text("Do b."),
        "a.demos": Demos(max=2),
        "b.demos": Demos(max=2),
        "heat": Float(0, 1),
    }
)
CONTEXT = SearchContext(SPACE, 3, 40, tuple(one.id for one in ROWS), None, len(ROWS), 4)


def changes() -> Changes:
    return Changes(SKETCH, SPACE.bind(CONTEXT.train_ids), most_demos=2, most_advice=2)


def told(number: int, ask: Ask, bad: set[int], failed: str | None = None) -> Told:
    rows = ask.rows or tuple(range(CONTEXT.rows_of(ask.split)))
    if failed is not None or ask.split == "errand":
        return Told(number, ask.candidate, ask.split, (), (), (), 0.0, failed or "no model")
    steps = [{"place": one, "input": {"text": "x"}, "output": {"text": "y"}} for one in "ab"]
    note: dict[str, Any] = {"error": None, "feedback": None, "trace": steps}
    scores = tuple(float(row not in bad) for row in rows)
    notes = (note,) * len(rows) if ask.traced else ()
    return Told(number, ask.candidate, ask.split, rows, scores, ("out",) * len(rows), 0.0, None, {}, notes)


def course(bad: set[int], steps: int, failing: int | None = None) -> tuple[Simba, list[Ask]]:
    optimizer, asks = Simba(SKETCH, minibatch=4), list[Ask]()
    optimizer.start(CONTEXT)
    while len(asks) < steps and (ask := optimizer.ask(0)) is not None:
        asks.append(ask)
        optimizer.tell(told(len(asks) - 1, ask, bad, "outage" if len(asks) - 1 == failing else None))
    return optimizer, asks


def test_the_baseline_is_scored_on_the_rows_that_its_rivals_meet() -> None:
    _, asks = course({3}, 30)
    own = {row for ask in asks if ask.split == "train" and ask.candidate == asks[0].candidate for row in ask.rows or ()}
    assert len(own) >= 4


def test_an_outage_is_no_score() -> None:
    optimizer, asks = course({3}, 3, failing=1)
    held = optimizer.extra_state()["field"]["members"][0]
    assert asks[1].split == "train"
    assert held["out"]
    assert {score for _, score in held["scores"]} == {0.0, 1.0}  # those of the validation rows alone
    assert all(row >= len(ROWS) for row, _ in held["scores"])


@pytest.mark.parametrize("bad", [{0}, set(range(1, 12))])
def test_nearly_all_right_and_nearly_all_wrong_both_leave_changes_to_try(bad: set[int]) -> None:
    _, asks = course(bad, 60)
    assert any(ask.split == "errand" for ask in asks)
    assert len({ask.candidate.key for ask in asks if ask.split == "train"}) > 3


def test_a_metric_of_large_numbers_overflows_nothing() -> None:
    assert softmax([100_000.0, 0.0], 0.2) == [1.0, 0.0]
    assert softmax([7.0, 7.0], 0.2) == [1.0, 1.0]


def test_luck_on_few_easy_rows_does_not_lead() -> None:
    hard = {row: float(row < 6) for row in range(12)}
    known = [Entry("many", None, {**hard, 6: 1.0, 7: 1.0}), Entry("base", None, hard), Entry("few", "base", {0: 1.0})]
    found = estimates(known)
    assert found["many"].mean > found["few"].mean
    assert found["few"].error > found["many"].error


def test_every_epoch_shows_every_row() -> None:
    assert {row for step in range(3) for row in batch_of(step, 5, 12, 3)} == set(range(12))
    assert batch_of(0, 12, 12, 3) != batch_of(1, 12, 12, 3)


def test_calls_are_told_apart_by_name_and_shown_their_own_steps() -> None:
    steps = [{"place": one, "input": {"text": f"in {one}"}, "output": {"text": f"out {one}"}} for one in "ab"]
    made = changes().demonstrated(
        SPACE.default().values, {}, Run("k", 5, 1.0, "out", None, None, steps), random.Random(1)
    )
    assert made is not None
    for one in "ab":
        held = made.candidate.values[f"{one}.demos"]["demos"]
        assert held == [{"input": {"text": f"in {one}"}, "output": {"text": f"out {one}"}, "of": ROWS[5].content_id}]


def test_advice_that_is_there_already_declines_and_the_oldest_gives_way() -> None:
    now = Changed(SPACE.default())
    for piece in ("One.", "Two.", "Three."):
        made = changes().advised(now.candidate.values, now.advice, {"a.instruction": [piece]})
        assert made is not None
        now = made
    assert now.candidate.values["a.instruction"] == "Do a.\n\nTwo.\n\nThree."
    assert changes().advised(now.candidate.values, now.advice, {"a.instruction": ["Two."]}) is None


def test_a_change_that_helped_one_candidate_is_made_in_another_and_no_other_change() -> None:
    former, does = Changed(SPACE.default()), changes()
    step = {"place": "a", "input": {"text": "in"}, "output": {"text": "out"}}
    warm = Changed(SPACE.complete({**former.candidate.values, "heat": 0.9}))
    advised = does.advised(warm.candidate.values, {}, {"b.instruction": ["Mind the gap."]})
    assert advised is not None
    run = Run("k", 5, 1.0, "out", None, None, [step])
    donor = does.demonstrated(advised.candidate.values, advised.advice, run, random.Random(1))
    onto = does.advised(former.candidate.values, {}, {"a.instruction": ["Look twice."]})
    assert donor is not None
    assert onto is not None
    made = does.grafted(onto, donor, warm, random.Random(1))
    assert made is not None
    assert made.candidate.values["a.instruction"] == "Do a.\n\nLook twice."
    assert made.candidate.values["b.instruction"] == "Do b.\n\nMind the gap."
    assert made.candidate.values["a.demos"] == donor.candidate.values["a.demos"]
    assert made.candidate.values["heat"] == former.candidate.values["heat"]  # what donor and former share is no change
    assert does.grafted(donor, donor, warm, random.Random(1)) is None
