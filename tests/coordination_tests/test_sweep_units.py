"""How rows are cut into units: each handed out once, never across a block, smaller towards the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination import Ask, Candidate, RowResult
from dspex_coordination.sweep.trial import Trial
from dspex_coordination.sweep.units import Unit, WaitingRows, remaining


def trial(number: int, rows: int, recorded: frozenset[int] = frozenset()) -> Trial:
    made = Trial(number, Ask(Candidate({"n": number})), rows)
    made.record([RowResult(row, 1.0, None) for row in sorted(recorded) if row < rows])
    return made


TRIALS = st.lists(st.tuples(st.integers(1, 40), st.frozensets(st.integers(0, 39))), min_size=1, max_size=4)


@given(TRIALS, st.integers(1, 9), st.integers(0, 20), st.integers(1, 7))
def test_every_lacking_row_is_handed_out_once_in_units_that_keep_to_their_block(
    trials: list[tuple[int, frozenset[int]]], chunk: int, workers: int, limit: int
) -> None:
    waiting, expected = WaitingRows(chunk), []
    for number, (rows, recorded) in enumerate(trials):
        waiting.add(trial(number, rows, recorded))
        expected += [(number, row) for row in range(rows) if row not in recorded]
    assert len(waiting) == len(expected)
    handed: list[tuple[int, int]] = []
    while units := waiting.take(limit, workers):
        assert len(units) <= limit
        for unit in units:
            first, last = unit.places
            assert unit.rows == tuple(range(first, last + 1))
            assert first // chunk == last // chunk
            handed += [(unit.trial, row) for row in unit.rows]
    assert handed == expected
    assert len(waiting) == 0


def test_units_get_smaller_as_the_work_in_sight_runs_out() -> None:
    waiting = WaitingRows(16)
    for number in range(3):
        waiting.add(trial(number, 64))
    sizes = [len(unit.rows) for unit in waiting.take(1000, workers=4)]
    assert sizes[:3] == [16, 16, 16]
    assert sizes[-4:] == [1, 1, 1, 1]
    assert sum(sizes) == 3 * 64


def test_a_lost_unit_waits_behind_the_rows_of_its_trial() -> None:
    waiting = WaitingRows(4)
    waiting.add(trial(0, 12))
    (lost,) = waiting.take(1, 0)
    waiting.put_back(lost)
    assert [unit.rows[0] for unit in waiting.take(9, 0)] == [4, 8, 0]


def test_rows_left_out_leave_the_units_that_hold_them() -> None:
    waiting, one = WaitingRows(4), trial(0, 12)
    waiting.add(one)
    (lost,) = waiting.take(1, 0)
    waiting.put_back(lost)
    one.leave_out(2)
    one.leave_out(6)
    waiting.refresh()
    assert len(waiting) == 10
    assert [unit.rows for unit in waiting.take(9, 0)] == [(4, 5), (7,), (8, 9, 10, 11), (0,), (1,), (3,)]
    assert len(waiting) == 0


def test_a_dropped_trial_needs_nothing_any_more() -> None:
    waiting = WaitingRows(4)
    waiting.add(trial(0, 12))
    waiting.add(trial(1, 2))
    waiting.put_back(waiting.take(1, 0)[0])
    waiting.drop(0)
    assert [unit.trial for unit in waiting.take(9, 0)] == [1]
    assert len(waiting) == 0


def test_the_id_of_a_unit_names_its_rows_whatever_the_sizes() -> None:
    unit = Unit(3, "train", (4, 6), (10, 12, 14))
    assert unit.id == "3:train:4-6"
    assert [(single.id, single.rows) for single in unit.singles()] == [
        ("3:train:4-4", (10,)),
        ("3:train:5-5", (12,)),
        ("3:train:6-6", (14,)),
    ]
    assert remaining(unit, lambda _: True) == [unit]
    assert remaining(unit, lambda row: row == 12) == [unit.singles()[1]]
