"""The parts of a reflective evolution: who leads, who breeds, who stays in the race, and what a reflection is shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination import Candidate, Demos, Float, Space, Text
from dspex_coordination.optimizers.draws import seeded
from dspex_ray.example import Example
from dspex_ray.program_optimizers.reflective_evidence import copies_input, runs, shortened
from dspex_ray.program_optimizers.reflective_moves import minibatch, varied
from dspex_ray.program_optimizers.reflective_pool import Individual, drawn_parent, hard_rows, incumbent, leaders, merges
from dspex_ray.program_optimizers.reflective_race import is_better, next_part, stays
from dspex_ray.program_optimizers.reflective_settings import ReflectiveSettings
from dspex_ray.program_optimizers.reflective_task import Task
from dspex_ray.program_optimizers.reflective_writing import Writer
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

FIELDS = (FieldSketch("text", "str", "what came in"),)
CALLS = tuple(
    Predictor(place, f"Do {place}.", f"{place}.instruction", f"{place}.demos", 2, FIELDS, FIELDS)
    for place in ("pick", "send")
)
ROWS = tuple(Example(f"e{i}", {"text": f"the question of number {i} here"}, {"text": f"right {i}"}) for i in range(8))
SKETCH = ProgramSketch("Two", "Pick, then send.", CALLS, ROWS)
SPACE = Space(
    {
        "pick.instruction": Text("Do pick."),
        "send.instruction": Text("Do send.", max_chars=300),
        "pick.demos": Demos(max=2),
        "heat": Float(0, 1),
    }
)


def one(number: int, gains: list[float | None], parents: tuple[int, ...] = (), **values: Any) -> Individual:
    known = {row: gain for row, gain in enumerate(gains) if gain is not None}
    return Individual(number, Candidate(values), parents, standing="whole", gains=known)


def record(gain: float | None, *places: str, text: str = "out") -> dict[str, Any]:
    steps = {place: [{"input": {"text": f"in {place}"}, "output": {"text": text}}] for place in places}
    return {"gain": gain, "output": {"text": text}, "error": None, "feedback": f"it was {gain}", "steps": steps}


def shown(call: Predictor, records: dict[int, Any], most: int = 4, most_chars: int = 10_000) -> list[str]:
    return runs(call, ROWS, records, most=most, most_chars=most_chars, perfect=1.0)


def test_who_is_best_somewhere_leads_and_who_is_covered_by_others_does_not() -> None:
    pool = [one(0, [1, 0, 0, 0]), one(1, [1, 1, 0, 0]), one(2, [0, 0, 1, 0]), one(3, [0, 0, 0, 0])]
    assert leaders(pool) == {1: 3, 2: 2}


def test_a_row_is_compared_among_those_who_saw_it() -> None:
    assert leaders([one(0, [0.5, 0.5, 0.5]), one(1, [None, 0.7, 0.4])]) == {0: 2, 1: 1}


def test_who_is_beaten_by_one_that_saw_fewer_rows_does_not_lead_where_that_one_did_not_look() -> None:
    assert leaders([one(0, [0.0, 0.0, 0.0]), one(1, [None, 1.0, 0.0])]) == {1: 2}


def test_those_within_the_bounds_lead_alone() -> None:
    pool = [one(0, [1, 1]), one(1, [0, 0.5])]
    pool[0].violation = 0.2
    assert leaders(pool) == {1: 2}
    assert incumbent(pool) is pool[1]


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=5, max_size=5), min_size=1, max_size=8))
def test_a_front_holds_a_best_one_for_each_row_and_nobody_too_many(scores: list[list[float | None]]) -> None:
    pool = [one(number, gains) for number, gains in enumerate(scores)]
    front = leaders(pool)
    best = [max(each.gains[row] for each in pool) for row in range(5)]
    led = {number: {row for row in range(5) if pool[number].gains[row] == best[row]} for number in front}
    assert set().union(*led.values()) == set(range(5))
    assert {number: len(rows) for number, rows in led.items()} == front
    for number, rows in led.items():
        others = [theirs for other, theirs in led.items() if other != number]
        assert not rows <= set().union(*others)


def test_parents_are_drawn_by_the_rows_that_they_lead_and_the_better_of_two_breeds() -> None:
    pool = [one(0, [0, 0, 0, 1]), one(1, [1, 1, 1, 0])]
    drawn = [drawn_parent(pool, seeded(0, number)).number for number in range(400)]
    assert 0.9 < sum(drawn) / len(drawn) < 0.98  # 1 - 1/16
    assert drawn_parent([one(0, [])], seeded(0)).number == 0


def test_a_merge_takes_what_each_side_changed_since_the_common_ancestor() -> None:
    pool = [one(0, [0, 0], a=1, b=1, c=1), one(1, [1, 0], (0,), a=2, b=1, c=5), one(2, [0, 1.5], (0,), a=1, b=2, c=6)]
    assert list(merges(pool)) == [((1, 2), {"a": 2, "b": 2, "c": 6})]


def test_no_merge_with_an_ancestor_nor_of_what_one_side_alone_changed_nor_below_the_ancestor() -> None:
    origin = one(0, [0, 0], a=1, b=1)
    assert not list(merges([one(0, [0, 1], a=1, b=1), one(1, [1, 0], (0,), a=2, b=1)]))
    assert not list(merges([origin, one(1, [1, 0], (0,), a=2, b=1), one(2, [0, 1], (0,), a=3, b=1)]))
    better = one(0, [0.9, 0.9], a=1, b=1)
    assert not list(merges([better, one(1, [1, 0], (0,), a=2, b=1), one(2, [0, 1], (0,), a=1, b=2)]))


def test_a_tie_on_the_minibatch_is_not_enough() -> None:
    assert not is_better({0: record(0.5), 1: record(0.5)}, {0: record(1.0), 1: record(0.0)})
    assert is_better({0: record(0.5), 1: record(0.6)}, {0: record(1.0), 1: record(0.0)})
    assert not is_better({0: record(1.0), 1: record(None)}, {0: record(1.0), 1: record(0.0)})
    assert not is_better({0: record(1.0)}, {1: record(0.0)})


def test_the_parts_of_a_race_grow_to_the_whole() -> None:
    settings = ReflectiveSettings(minibatch=3, parts=3)
    assert [next_part(looked, 50, settings) for looked in (0, 13, 26)] == [13, 26, 50]
    assert next_part(0, 2, settings) == 2


def test_who_is_behind_leaves_and_who_may_still_win_stays() -> None:
    best = one(0, [1] * 16)
    assert not stays(one(1, [0, 0, 0, 0]), [best])
    assert stays(one(1, [0]), [best])
    assert stays(one(1, [1, 1, 1, 1]), [best])
    assert stays(one(1, [0, 0]), [])
    assert stays(one(1, [0, 0, 0, 0]), [one(0, [1, 1, 1])])  # it has seen more than that rival


def test_who_misses_the_bounds_leaves_when_a_rival_keeps_them() -> None:
    breaking = one(1, [1, 1])
    breaking.violation = 0.1
    assert not stays(breaking, [one(0, [0, 0])])
    assert stays(one(0, [0, 0]), [breaking])


def test_a_merged_one_leaves_when_it_is_behind_its_better_parent() -> None:
    pool = [one(0, [1, 1, 0, 1] * 9), one(1, [1, 0, 0, 0] * 9)]
    merged = one(2, [1, 1, 0, 0] + [1, 1, 0, 1] * 8, (0, 1))
    assert not stays(merged, pool)
    assert stays(one(2, [1, 1, 0, 0] + [1, 1, 0, 1] * 8, (0,)), pool)


def test_a_reflection_is_shown_the_worst_runs_and_one_good_one() -> None:
    records = {0: record(1.0, "pick"), 1: record(0.5, "pick"), 2: record(0.0, "pick"), 3: record(1.0, "pick")}
    texts = shown(CALLS[0], records)
    assert [text.partition("score: ")[2].partition("\n")[0] for text in texts] == ["0", "0.5", "1"]
    assert "given to this call: in pick" in texts[0]
    assert "expected: right 2" in texts[0]
    assert "feedback: it was 0.0" in texts[0]


def test_a_reflection_is_bounded_by_runs_and_by_characters() -> None:
    records = {row: record(0.0, "pick", text="x" * 100_000) for row in range(8)}
    assert len(shown(CALLS[0], records, most=3)) == 2  # the third has no room
    assert sum(map(len, shown(CALLS[0], records, most=8, most_chars=9_000))) <= 9_000
    assert sum(map(len, shown(CALLS[0], records, most=8, most_chars=600))) <= 700
    assert shortened({"a": ["y" * 5000]}) != {"a": ["y" * 5000]}


def test_a_call_without_part_in_what_went_wrong_is_passed_over() -> None:
    parent = Individual(0, SPACE.default(), records={0: record(0.0, "send"), 1: record(1.0, "pick", "send")})
    writer = Writer(SKETCH, CALLS, SPACE, ReflectiveSettings(), 1.0)
    assert not shown(CALLS[0], parent.records)
    assert list(writer.errands(Task(0, "reflect", 0, [0, 1], turn=0), parent)) == ["send.instruction"]


def test_calls_take_turns_or_are_rewritten_together() -> None:
    parent = Individual(0, SPACE.default(), records={0: record(0.0, "pick", "send")})
    for turn, name in enumerate(["pick.instruction", "send.instruction", "pick.instruction"]):
        writer = Writer(SKETCH, CALLS, SPACE, ReflectiveSettings(), 1.0)
        assert list(writer.errands(Task(0, "reflect", 0, [0], turn=turn), parent)) == [name]
    both = writer.errands(Task(0, "reflect", 0, [0], every_call=True), parent)
    assert sorted(both) == [
        "pick.instruction",
        "send.instruction",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no answer"),
        (None, "no answer"),
        (" Do pick. ", "repeated"),
        ("x" * 4_001, "too long"),
        ("As in: The question of number 3, here!", "copied"),
        ("Name the number.", ""),
    ],
)
def test_an_answer_is_taken_only_if_it_is_new_and_short_and_no_copy(text: str | None, reason: str) -> None:
    writer = Writer(SKETCH, CALLS, SPACE, ReflectiveSettings(), 1.0)
    taken, why = writer.read({"instruction": text}, "Do pick.", "pick.instruction")
    assert why == reason
    assert taken == (None if reason else text)
    assert writer.read("no object", "Do pick.", "pick.instruction") == (None, "no answer")


def test_the_bound_of_the_variable_holds_and_a_long_first_text_may_stay_as_long() -> None:
    writer = Writer(SKETCH, CALLS, SPACE, ReflectiveSettings(), 1.0)
    assert writer.read({"instruction": "y" * 301}, "Do send.", "send.instruction")[1] == "too long"
    assert writer.read({"instruction": "y" * 5_000}, "z" * 5_000, "pick.instruction")[1] == ""


def test_what_the_present_instruction_says_is_no_copy() -> None:
    text = "Mind the question of number 3 here."
    assert copies_input(text, "", ROWS)
    assert not copies_input(text, text, ROWS)


def test_a_minibatch_takes_known_rows_up_to_a_limit_and_hard_new_ones_and_none_twice() -> None:
    for number in range(50):
        rows = minibatch(range(6), range(8, 40), {8, 9, 3}, 8, 4, seeded(number))
        assert len(set(rows)) == len(rows) == 8
        assert sum(row < 6 for row in rows) == 4
        assert {8, 9} <= set(rows)
        assert not {6, 7} & set(rows)
    assert sorted(minibatch(range(6), (), (), 8, 3, seeded(1))) == list(range(6))


def test_rows_that_an_ancestor_had_wrong_are_hard() -> None:
    pool = [one(0, [0]), one(1, [0], (0,)), one(2, [0], (0,))]
    for individual, row in zip(pool, (5, 6, 7), strict=True):
        individual.records = {row: record(0.0), row - 3: record(1.0)}
    assert hard_rows(pool, 1, 1.0) == {5, 6}


def test_demonstrations_come_out_of_good_runs_with_the_row_they_are_of_and_uncut() -> None:
    long = {"pick": [{"input": {"text": shortened("x" * 9_000)}, "output": {"text": "y"}}]}
    parent = Individual(
        0, SPACE.default(), records={0: record(1.0, "pick"), 1: record(0.0, "pick"), 2: {**record(1.0), "steps": long}}
    )
    drawn = [varied(SPACE, ["pick.demos"], parent, SKETCH, 1.0, seeded(number)) for number in range(20)]
    given_ones = [c.values["pick.demos"]["demos"] for c in drawn if c and c.values["pick.demos"]["select"] == "given"]
    assert given_ones
    assert all(demos == [{"input": {"text": "in pick"}, "output": {"text": "out"}, "of": "e0"}] for demos in given_ones)
