"""What SIMBA does where DSPy's goes wrong, on its state machine and its parts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from dspex_coordination import Demos, Float, Space, Text
from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers import Ask, SearchContext, Told
from dspex_ray.example import Example
from dspex_ray.program_optimizers.shrunken_scores import Entry, estimates, softmax
from dspex_ray.program_optimizers.simba import Simba
from dspex_ray.program_optimizers.simba_advice import AdviseCalls, advice_errand, heard
from dspex_ray.program_optimizers.simba_changes import Changes
from dspex_ray.program_optimizers.simba_pool import Member, Pool
from dspex_ray.program_optimizers.simba_ways import Ways
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
CONTEXT = SearchContext(SPACE, 3, 40, tuple(one.id for one in ROWS), None, len(ROWS), 8)
DEFAULT = SPACE.default().values
STEPS = {one: [{"place": one, "input": {"text": f"in {one}"}, "output": {"text": f"out {one}"}}] for one in "ab"}
RUN = {"gain": 1.0, "output": "out", "error": None, "feedback": None, "steps": STEPS}

Score = Callable[[Candidate, str, int], float | None]


def changes(**more: int) -> Changes:
    return Changes(SKETCH, SPACE.bind(CONTEXT.train_ids), **{"most_demos": 2, "most_chars": 24, **more})


def told(number: int, ask: Ask, score: Score, failed: str | None) -> Told:
    if failed is not None:
        return Told(number, ask.candidate, ask.split, (), (), (), 0.0, failed)
    if ask.split == "errand":
        answer = {"discussion": "", "advice": dict.fromkeys("ab", f"Mind {number}.")}
        return Told(number, ask.candidate, ask.split, (0,), (None,), (answer,), 0.0, None)
    rows = ask.rows or tuple(range(CONTEXT.rows_of(ask.split)))
    note: dict[str, Any] = {"error": None, "feedback": None, "trace": [step for one in STEPS.values() for step in one]}
    scores = tuple(score(ask.candidate, ask.split, row) for row in rows)
    notes = (note,) * len(rows) if ask.traced else ()
    return Told(number, ask.candidate, ask.split, rows, scores, ("out",) * len(rows), 0.0, None, {}, notes)


def course(score: Score, steps: int, failing: int | None = None) -> tuple[Simba, list[Ask]]:
    optimizer, asks = Simba(SKETCH, minibatch=3), list[Ask]()
    optimizer.start(CONTEXT)
    while len(asks) < steps and (ask := optimizer.ask(0)) is not None:
        asks.append(ask)
        optimizer.tell(told(len(asks) - 1, ask, score, "outage" if len(asks) - 1 == failing else None))
    return optimizer, asks


def wrong_on(*rows: int) -> Score:
    return lambda _, __, row: float(row not in rows)


def advised_is_better(candidate: Candidate, split: str, row: int) -> float:
    hard = row % 4
    return float("Mind" in str(candidate.values["a.instruction"]) or hard == 0) if split == "train" else float(not hard)


def train_asks(asks: list[Ask]) -> list[Ask]:
    return [ask for ask in asks if ask.split == "train"]


def test_every_row_that_was_run_is_credited_to_its_candidate() -> None:
    optimizer, asks = course(wrong_on(3), 25)
    for member in optimizer.extra_state()["members"]:
        own = [ask for ask in asks if ask.candidate.to_json() == member["candidate"]]
        train = {row for ask in train_asks(own) for row in ask.rows or ()}
        looked = {len(ROWS) + row for ask in own if ask.split == "validation" for row in ask.rows or range(8)}
        assert {row for row, _ in member["scores"]} == train | looked


def test_a_new_candidate_runs_on_rows_that_its_parent_ran() -> None:
    optimizer, asks = course(wrong_on(3), 40)
    members = {Candidate(one["candidate"]).key: one for one in optimizer.extra_state()["members"]}
    children = [one for one in members.values() if one["parent"] is not None]
    assert len(children) > 3
    for one in children:
        parent = {row for row, _ in members[one["parent"]]["scores"]}
        first = next(ask for ask in train_asks(asks) if ask.candidate.to_json() == one["candidate"])
        assert set(first.rows or ()) <= parent


def test_who_is_behind_gets_no_more_rows() -> None:
    base = SPACE.default()
    _, asks = course(lambda candidate, _, row: float(candidate == base and row != 3), 60)
    others = [ask for ask in train_asks(asks) if ask.candidate != base]
    assert others
    assert len({ask.candidate.key for ask in others}) == len(others)  # one look at each
    assert all(ask.candidate == base for ask in asks if ask.split == "validation")


def test_the_choice_is_by_looks_at_growing_parts_of_the_validation_rows() -> None:
    _, asks = course(advised_is_better, 60)
    looks: dict[str, list[int]] = {}
    for ask in asks[1:]:
        if ask.split == "validation":
            looks.setdefault(ask.candidate.key, []).append(8 if ask.rows is None else len(ask.rows))
    assert any(sizes[:2] == [3, 6] for sizes in looks.values())
    assert all(sizes == sorted(set(sizes)) for sizes in looks.values())


def test_an_outage_is_no_score() -> None:
    optimizer, asks = course(wrong_on(3), 3, failing=1)
    held = optimizer.extra_state()["members"][0]
    assert asks[1].split == "train"
    assert held["out"]
    assert all(row >= len(ROWS) for row, _ in held["scores"])  # those of the validation rows alone


def test_a_row_without_a_score_is_no_score_either() -> None:
    optimizer, _ = course(lambda _, __, row: None if row == 2 else float(row != 3), 20)
    rows = {row for one in optimizer.extra_state()["members"] for row, _ in one["scores"]}
    assert rows
    assert not rows & {2, len(ROWS) + 2}


@pytest.mark.parametrize("wrong", [(0,), range(1, 12)])
def test_nearly_all_right_and_nearly_all_wrong_both_leave_changes_to_try(wrong: tuple[int, ...]) -> None:
    optimizer, asks = course(wrong_on(*wrong), 80)
    assert any(ask.split == "errand" for ask in asks)
    assert {"rule", "demo"} <= set(optimizer.tally)


def test_a_change_that_declines_or_repeats_costs_nothing() -> None:
    class Deaf(Simba):
        def tell(self, told: Told) -> None:
            said = ({"discussion": "", "advice": {"a": "Mind it."}},)
            super().tell(
                Told(told.number, told.candidate, "errand", (0,), (None,), said, 0.0, None)
                if told.split == "errand"
                else told
            )

    optimizer, asks = Deaf(SKETCH, minibatch=3, pool=1), list[Ask]()
    space = Space({"a.instruction": Text("Do a.")})
    optimizer.start(SearchContext(space, 3, 40, CONTEXT.train_ids, None, len(ROWS), 8))
    while (ask := optimizer.ask(0)) is not None:
        asks.append(ask)
        optimizer.tell(told(len(asks) - 1, ask, wrong_on(3), None))
    errands = [ask for ask in asks if ask.split == "errand"]
    assert len(errands) > 10
    assert len({ask.candidate.key for ask in train_asks(asks)}) == 2  # the same advice makes one candidate
    assert optimizer.done


def test_a_search_in_which_every_score_is_the_same_ends_and_says_so() -> None:
    optimizer, _ = course(lambda *_: 0.0, 500)
    assert optimizer.reason == "Every score is 0, whatever was tried: this metric and data teach nothing."


def test_a_search_with_nothing_left_to_win_ends_and_says_so() -> None:
    optimizer, _ = course(lambda candidate, *_: float("Mind" in str(candidate.values["a.instruction"])), 500)
    assert "nothing is left to win" in str(optimizer.reason)


def test_a_metric_of_large_numbers_overflows_nothing() -> None:
    assert softmax([100_000.0, 0.0], 0.2) == [1.0, 0.0]
    assert softmax([7.0, 7.0], 0.2) == [1.0, 1.0]


def test_luck_on_few_easy_rows_does_not_lead() -> None:
    hard = {row: float(row < 6) for row in range(12)}
    known = [Entry("many", None, {**hard, 6: 1.0, 7: 1.0}), Entry("base", None, hard), Entry("few", "base", {0: 1.0})]
    found = estimates(known)
    assert found["many"].mean > found["few"].mean
    assert found["few"].error > found["many"].error


def test_calls_are_told_apart_by_name_and_shown_their_own_steps() -> None:
    made = changes().demonstrated(DEFAULT, [(5, RUN)], random.Random(1))
    assert made is not None
    for one in "ab":
        demo = {"input": {"text": f"in {one}"}, "output": {"text": f"out {one}"}, "of": ROWS[5].content_id}
        assert made[f"{one}.demos"] == {"select": "given", "demos": [demo]}


def test_demonstrations_give_way_to_new_ones_and_are_shown_once() -> None:
    does, rng = changes(), random.Random(1)
    given = {"select": "given", "demos": [{"input": {"text": "in"}, "output": {"text": "out"}, "of": "e0"}]}
    made = does.demonstrated({**DEFAULT, "a.demos": given}, [(5, RUN)], rng)
    assert made is not None
    assert [demo["of"] for demo in made["a.demos"]["demos"]] == ["e0", ROWS[5].content_id]
    assert does.demonstrated(made, [(5, RUN)], rng) is None
    more = does.demonstrated(made, [(7, RUN)], rng)
    assert more is not None
    assert [demo["of"] for demo in more["a.demos"]["demos"]][-1] == ROWS[7].content_id
    assert len(more["a.demos"]["demos"]) == 2


def test_a_long_or_secret_answer_is_no_demonstration() -> None:
    step = {"place": "a", "input": {"text": "in"}, "output": {"text": "y" * 5_000}}
    assert changes().demonstrated(DEFAULT, [(5, {**RUN, "steps": {"a": [step]}})], random.Random(1)) is None
    hidden = tuple(
        Predictor(one.place, "", one.instruction_name, one.demos_name, 2, (FieldSketch("text", "Secret", ""),), FIELDS)
        for one in CALLS
    )
    sketch = ProgramSketch("Two", "First a, then b.", hidden, ROWS)
    does = Changes(sketch, SPACE.bind(CONTEXT.train_ids), most_demos=2, most_chars=24)
    assert does.demonstrated(DEFAULT, [(5, RUN)], random.Random(1)) is None
    assert "in 5" not in str(advice_errand(sketch, hidden, DEFAULT, [(ROWS[5], RUN, None)], 1))


def test_advice_that_is_there_already_declines_and_the_oldest_gives_way() -> None:
    now: dict[str, Any] = dict(DEFAULT)
    for piece in ("Look one.", "Look two.", "Look three."):
        made = changes().advised(now, {"a.instruction": [piece]})
        assert made is not None
        now = made
    assert now["a.instruction"] == "Do a.\nLook two.\nLook three."
    assert changes().advised(now, {"a.instruction": ["Look two."]}) is None
    assert changes().advised(DEFAULT, {"a.instruction": ["far too long a thing to be taken over"]}) is None


def test_one_piece_of_advice_or_one_demonstration_is_dropped() -> None:
    does = changes(most_chars=99)
    full = does.advised(DEFAULT, {"a.instruction": ["One.", "Two."]})
    assert full is not None
    full = does.demonstrated(full, [(5, RUN)], random.Random(1))
    assert full is not None
    fewer = [does.dropped(full, random.Random(seed)) or {} for seed in range(20)]
    assert {one["a.instruction"] for one in fewer} == {"Do a.\nOne.\nTwo.", "Do a.\nOne.", "Do a.\nTwo."}
    assert {len(one["a.demos"]["demos"]) for one in fewer} == {0, 1}
    assert all(sum(one[name] != full[name] for name in full) == 1 for one in fewer)
    assert does.dropped(DEFAULT, random.Random(1)) is None


def test_a_change_that_helped_one_candidate_is_made_in_another_and_no_other_change() -> None:
    does = changes(most_chars=99)
    warm = {**DEFAULT, "heat": 0.9}
    donor = does.advised(warm, {"b.instruction": ["Mind the gap."]})
    onto = does.advised(DEFAULT, {"a.instruction": ["Look twice."]})
    assert donor is not None
    assert onto is not None
    donor = does.demonstrated(donor, [(5, RUN)], random.Random(1))
    assert donor is not None
    made = does.grafted(onto, donor, warm)
    assert made is not None
    assert made["a.instruction"] == "Do a.\nLook twice."
    assert made["b.instruction"] == "Do b.\nMind the gap."
    assert made["a.demos"] == donor["a.demos"]
    assert made["heat"] == DEFAULT["heat"]  # what donor and former share is no change
    assert does.grafted(donor, donor, warm) is None


def test_ways_that_made_better_candidates_are_drawn_first_more_often() -> None:
    base = SPACE.default()
    rows = {row: float(row % 2) for row in range(8)}
    pool = Pool(len(ROWS), [Member(base, met=True, scores=rows)])
    for number in range(10):
        better, worse = SPACE.complete({"heat": number / 100}), SPACE.complete({"heat": 0.5 + number / 100})
        pool.add(Member(better, base.key, "move", met=True, scores=dict.fromkeys(range(8), 1.0)))
        pool.add(Member(worse, base.key, "drop", met=True, scores=rows))
    ways = Ways(SKETCH, SPACE.bind(CONTEXT.train_ids), most_demos=2, most_chars=24)
    drawn = [ways.drawn(pool, 0, random.Random(seed)) for seed in range(200)]
    assert all(sorted(one) == ["demo", "drop", "graft", "move", "rule"] for one in drawn)
    assert sum(one.index("move") < one.index("drop") for one in drawn) > 150


def test_advice_is_asked_with_several_examples_their_answers_feedback_and_better_runs() -> None:
    bad = {**RUN, "gain": 0.0, "output": "bad out", "feedback": "too short"}
    asked = advice_errand(SKETCH, CALLS, DEFAULT, [(ROWS[1], bad, RUN), (ROWS[2], bad, None)], 7)
    assert asked["program"].endswith(AdviseCalls.__name__)
    assert asked["rollout"] == 7
    shown = asked["input"]["runs"]
    for text in ("in 1", "out 1", "in 2", "out 2", "bad out", "too short", "score: 1", "A better run"):
        assert text in shown
    assert "Do a." in asked["input"]["calls"]


def test_advice_is_heard_by_name_and_not_where_it_is_long_or_copies_an_input() -> None:
    rows = (Example("e", {"text": "one two three four five six seven eight nine ten"}, {"text": "x"}), *ROWS)
    sketch = ProgramSketch("Two", "First a, then b.", CALLS, rows)
    copied = "Say x to one two three four five six seven eight nine ten."
    answer = {"discussion": "", "advice": {"a": f"Mind it.\n\n{copied}\n{'y' * 700}", "c": "Nobody."}}
    assert heard(sketch, CALLS, answer) == {"a.instruction": ["Mind it."], "b.instruction": []}
    assert heard(sketch, CALLS[:1], {"advice": ["One.", "Two."]}) == {"a.instruction": ["One.", "Two."]}
    assert heard(sketch, CALLS, {"advice": 3}) == {}
