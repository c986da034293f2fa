"""The parts of a reflective evolution: who breeds, who is validated, and what a reflection is shown."""

from __future__ import annotations

from typing import Any

import pytest

from dspex_coordination import Candidate, Demos, Float, Space, Text, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_ray.example import Example, make_example
from dspex_ray.program_optimizers.reflective_demos import Showing
from dspex_ray.program_optimizers.reflective_moves import minibatch, varied
from dspex_ray.program_optimizers.reflective_pool import (
    Individual,
    complements,
    drawn_parent,
    hard_rows,
    incumbent,
    solved_share,
    worths,
)
from dspex_ray.program_optimizers.reflective_race import contender, is_better, next_part
from dspex_ray.program_optimizers.reflective_settings import ReflectiveSettings
from dspex_ray.program_optimizers.reflective_task import Task
from dspex_ray.program_optimizers.reflective_writing import Writer
from dspex_ray.program_optimizers.run_evidence import copies_input, records_of, runs, shortened
from dspex_ray.program_optimizers.shrunken_scores import Estimate
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


def one(number: int, gains: list[float | None], parent: int | None = None, train: str = "") -> Individual:
    """A candidate with gains by validation row, and with right (1) and wrong (0) train rows."""
    known = {row: gain for row, gain in enumerate(gains) if gain is not None}
    records = {row: record(float(digit)) for row, digit in enumerate(train) if digit != " "}
    return Individual(number, Candidate({"a": number}), parent, standing="whole", gains=known, records=records)


def record(gain: float | None, *places: str, text: str = "out") -> dict[str, Any]:
    steps = {place: [{"input": {"text": f"in {place}"}, "output": {"text": text}}] for place in places}
    return {"gain": gain, "output": {"text": text}, "error": None, "feedback": f"it was {gain}", "steps": steps}


def shown(call: Predictor, records: dict[int, Any], most: int = 4, most_chars: int = 10_000) -> list[str]:
    return runs(call, ROWS, records, most=most, most_chars=most_chars, perfect=1.0)


def test_what_few_rows_say_of_a_child_is_shrunk_towards_its_parent() -> None:
    pool = [one(0, [1, 0] * 10), one(1, [], 0, train="111"), one(2, [1, 1, 1, 0] * 5, 0)]
    worth = worths(pool)
    assert worth[0].mean < worth[1].mean < 1.0
    assert worth[2].mean > worth[0].mean
    assert worth[1].error > worth[2].error
    assert set(worths([*pool, one(3, [])])) == {0, 1, 2}


def test_who_is_worth_more_breeds_more_and_who_is_little_known_breeds_too() -> None:
    pool = [one(number, [0]) for number in range(3)]
    worth = {0: Estimate(0.8, 0.05), 1: Estimate(0.3, 0.05), 2: Estimate(0.7, 0.2)}
    drawn = [drawn_parent(pool, worth, seeded(0, number)).number for number in range(400)]
    assert drawn.count(1) == 0
    assert drawn.count(0) > drawn.count(2) > 60
    assert drawn_parent([one(0, [])], {}, seeded(0)).number == 0


def test_those_within_the_bounds_breed_alone() -> None:
    pool = [one(0, [1, 1]), one(1, [0, 0.5])]
    pool[0].violation = 0.2
    assert {drawn_parent(pool, worths(pool), seeded(number)).number for number in range(20)} == {1}
    assert incumbent(pool) is pool[1]


def test_who_can_do_what_a_parent_cannot_complements_it_and_who_is_worth_much_less_does_not() -> None:
    pool = [one(0, [], train="0011"), one(1, [], train="1000"), one(2, [], train="1100"), one(3, [], train="0011")]
    worth = {number: Estimate(0.5, 0.1) for number in range(4)}
    assert [each.number for each in complements(pool, worth, pool[0], 1.0, 5)] == [2, 1]
    assert [each.number for each in complements(pool, worth, pool[0], 1.0, 1)] == [2]
    assert not complements(pool, {**worth, 1: Estimate(0.3, 0.1), 2: Estimate(0.1, 0.3)}, pool[0], 1.0, 5)
    assert not complements(pool, {}, pool[0], 1.0, 5)


def test_a_row_is_known_by_the_share_of_those_who_got_it_right() -> None:
    pool = [one(0, [], train="01"), one(1, [], train="11"), one(2, [], train=" 1")]
    assert [solved_share(pool, row, 1.0) for row in range(3)] == [0.5, 1.0, 0.0]


def test_a_tie_on_the_minibatch_is_not_enough() -> None:
    assert not is_better({0: record(0.5), 1: record(0.5)}, {0: record(1.0), 1: record(0.0)})
    assert is_better({0: record(0.5), 1: record(0.6)}, {0: record(1.0), 1: record(0.0)})
    assert not is_better({0: record(1.0), 1: record(None)}, {0: record(1.0), 1: record(0.0)})
    assert not is_better({0: record(1.0)}, {1: record(0.0)})


def test_the_parts_of_a_race_grow_to_the_whole_and_who_is_surely_better_is_seen_at_once() -> None:
    settings, pool = ReflectiveSettings(minibatch=3, parts=3), [one(0, [0.5]), one(1, [])]
    pool[1].standing = "racing"
    for worth, parts in ((Estimate(0.6, 0.2), [13, 26, 50]), (Estimate(0.8, 0.2), [50])):
        pool[1].looked = 0
        for part in parts:
            pool[1].looked = next_part(pool[1], pool, {0: Estimate(0.5, 0.1), 1: worth}, 50, settings)
            assert pool[1].looked == part
    assert next_part(one(1, []), [], {}, 2, settings) == 2


def racers(*worths_of: tuple[float, float]) -> tuple[list[Individual], dict[int, Estimate]]:
    """The best one, worth 0.5, and others that race."""
    pool = [one(0, [0.5]), *(one(number, [], 0) for number in range(1, len(worths_of) + 1))]
    for each in pool[1:]:
        each.standing = "racing"
    return pool, {number: Estimate(*each) for number, each in enumerate([(0.5, 0.1), *worths_of])}


def test_the_surest_of_those_ahead_of_the_best_is_validated_next() -> None:
    pool, worth = racers((0.9, 0.4), (0.7, 0.1), (0.4, 0.01))
    assert contender(pool, worth, ()) is pool[2]
    assert contender(pool, worth, {2}) is pool[1]
    assert contender(pool, worth, {1, 2}) is None
    pool[2].standing = "dropped"
    assert contender(pool, worth, ()) is pool[1]


def test_one_of_which_nothing_is_known_is_validated_first() -> None:
    pool, worth = racers((0.9, 0.1), (0.7, 0.1))
    del worth[2]
    assert contender(pool, worth, ()) is pool[2]


def test_who_misses_the_bounds_waits_until_nobody_keeps_them() -> None:
    pool, worth = racers((0.9, 0.1), (0.4, 0.1))
    pool[1].violation = 0.1
    assert contender(pool, worth, ()) is None
    pool[0].violation = 0.2
    assert contender(pool, worth, {2}) is pool[1]
    assert contender(pool, worth, {1}) is pool[2]


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
    assert list(writer.errands(Task(0, "reflect", 0, [0, 1], turn=0), parent, [parent], {})) == ["send.instruction"]


def test_a_reflection_is_shown_first_what_its_attempt_is_about_and_then_what_nobody_can_do() -> None:
    pool = [one(0, [], train="0000"), one(1, [], train="1001")]
    pool[0].candidate = SPACE.default()
    task = Task(0, "reflect", 0, [3])
    asked = Writer(SKETCH, CALLS, SPACE, ReflectiveSettings(), 1.0).errands(task, pool[0], pool, {})
    text = asked["pick.instruction"]["input"]["runs"]
    places = [text.index(f"the question of number {row} here") for row in (3, 1, 2, 0)]
    assert places == sorted(places)


@pytest.mark.parametrize("crossed", [True, False])
def test_a_crossed_reflection_is_shown_what_others_are_told(crossed: bool) -> None:  # noqa: FBT001 - parametrized
    pool = [one(0, [], train="00"), one(1, [], train="10")]
    pool[0].candidate = SPACE.default()
    pool[1].candidate = Candidate({**SPACE.default().values, "pick.instruction": "Pick well."})
    worth = {number: Estimate(0.5, 0.1) for number in range(2)}
    writer = Writer(SKETCH, CALLS, SPACE, ReflectiveSettings(), 1.0)
    asked = writer.errands(Task(0, "reflect", 0, [0], crossed=crossed), pool[0], pool, worth)
    assert asked["pick.instruction"]["input"]["instruction"] == "Do pick."
    assert asked["pick.instruction"]["input"]["others"] == ("Pick well." if crossed else "")


def test_calls_take_turns_or_are_rewritten_together() -> None:
    parent = Individual(0, SPACE.default(), records={0: record(0.0, "pick", "send")})
    writer = Writer(SKETCH, CALLS, SPACE, ReflectiveSettings(), 1.0)
    for turn, name in enumerate(["pick.instruction", "send.instruction", "pick.instruction"]):
        assert list(writer.errands(Task(0, "reflect", 0, [0], turn=turn), parent, [parent], {})) == [name]
    both = writer.errands(Task(0, "reflect", 0, [0], every_call=True), parent, [parent], {})
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
    pool = [one(0, [], None, "  1  0"), one(1, [], 0, "   1  0"), one(2, [], 0, "    1  0")]
    assert hard_rows(pool, 1, 1.0) == {5, 6}


def test_demonstrations_come_out_of_good_runs_with_the_row_they_are_of_and_uncut() -> None:
    long = {"pick": [{"input": {"text": shortened("x" * 9_000)}, "output": {"text": "y"}}]}
    parent = Individual(
        0, SPACE.default(), records={0: record(1.0, "pick"), 1: record(0.0, "pick"), 2: {**record(1.0), "steps": long}}
    )
    showing = Showing(SKETCH, SPACE, 1.0)
    value = showing.more("pick.demos", parent, [parent], seeded(0))
    assert value == {
        "select": "given",
        "demos": [{"input": {"text": "in pick"}, "output": {"text": "out"}, "of": "e0"}],
    }
    drawn = [varied(SPACE, ["pick.demos"], parent, [parent], showing, seeded(number)) for number in range(20)]
    assert any(each is not None and each.values["pick.demos"] == value for each in drawn)


def test_more_is_shown_up_to_the_limit_and_the_rows_that_the_parent_got_wrong_first() -> None:
    values = dict(SPACE.default().values)
    other = Individual(1, SPACE.default(), records={row: record(1.0, "pick") for row in range(6)})
    for number in range(20):
        parent = Individual(0, Candidate(values), records={4: record(0.0, "pick")})
        value = Showing(SKETCH, SPACE, 1.0).more("pick.demos", parent, [parent, other], seeded(number))
        assert value is not None
        assert value["demos"][0]["of"] == "e4"
        assert len(value["demos"]) in (1, 2)
        full = Individual(2, Candidate({**values, "pick.demos": value}), records=parent.records)
        again = Showing(SKETCH, SPACE, 1.0).more("pick.demos", full, [full, other], seeded(number))
        assert again is not None
        of = [demo["of"] for demo in again["demos"]]
        assert len(of) == len(set(of)) == 2
        assert again != value


def test_fields_that_hold_a_secret_are_in_no_record_and_shown_to_no_writer() -> None:
    fields = (FieldSketch("text", "str", ""), FieldSketch("pin", "Secret", ""))
    call = Predictor("part", "Sort it.", "part.instruction", None, 0, fields, (FieldSketch("kind", "str", ""),))
    row = make_example({"text": "a parcel", "pin": "4711"}, {"kind": "shop"}, None)
    sketch = ProgramSketch("Sort", "Sort it.", (call,), (row,))
    note = {
        "error": None,
        "feedback": "no",
        "trace": [{"place": "part", "input": dict(row.input), "output": {"kind": "bank"}}],
    }
    told = Told(1, Candidate({}), "train", (0,), (0.0,), ({"kind": "bank"},), 0.0, None, {}, (note,))
    records = records_of(told, sketch, 1.0)
    assert "4711" not in str(records)
    assert records[0]["steps"]["part"][0]["input"] == {"text": "a parcel"}
    made = runs(call, sketch.rows, records, most=4, most_chars=1000, perfect=1.0, hidden=("pin",))
    assert "a parcel" in made[0]
    assert "4711" not in made[0]
