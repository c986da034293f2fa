from __future__ import annotations

import pickle

import pytest

from dspex_ray.demos import DemoPool, held_out
from dspex_ray.errors import DataError, ProgramError
from dspex_ray.example import Example, make_example

TEXTS = [
    "where is my card",
    "my card has not arrived",
    "exchange rate of euro",
    "cash machine fee",
    "the euro rate today",
]


def _pool(*texts: str) -> DemoPool:
    return DemoPool([make_example({"message": text}, {"intent": text[:3]}, text[:3]) for text in texts or TEXTS])


def _messages(chosen: list[Example]) -> list[str]:
    return [example.input["message"] for example in chosen]


def test_fixed_demos_come_in_the_order_of_their_ids() -> None:
    pool = _pool()
    chosen = pool.select({"select": "fixed", "ids": [pool.ids[3], pool.ids[0]]}, {"message": "x"})
    assert _messages(chosen) == [TEXTS[3], TEXTS[0]]


def test_the_nearest_demo_stands_last() -> None:
    chosen = _pool().select({"select": "nearest", "k": 2}, {"message": "where is my new card"})
    assert _messages(chosen) == [TEXTS[1], TEXTS[0]]


def test_fewer_examples_than_asked_are_all_shown() -> None:
    assert len(_pool().select({"select": "nearest", "k": 9}, {"message": "euro"})) == 5
    assert DemoPool().select({"select": "nearest", "k": 9}, {"message": "euro"}) == []


def test_another_k_for_the_same_input_gives_the_same_ranking() -> None:
    pool = _pool()
    three = pool.select({"select": "nearest", "k": 3}, {"message": "euro rate"})
    one = pool.select({"select": "nearest", "k": 1}, {"message": "euro rate"})
    assert one == three[-1:]


def test_input_fields_the_data_never_had_do_not_disturb_the_ranking() -> None:
    query = {"message": "where is my new card", "tone": "exchange rate of euro"}
    assert _messages(_pool().select({"select": "nearest", "k": 1}, query)) == [TEXTS[0]]


def test_an_example_is_not_shown_to_itself_nor_are_its_copies() -> None:
    first = make_example({"message": TEXTS[0]}, {"intent": "a"}, "a")
    copy = Example(f"{first.id}-2", first.input, first.output, "a")
    pool = DemoPool([first, copy, *_pool(*TEXTS[1:]).examples])
    nearest = {"select": "nearest", "k": 2}
    assert _messages(pool.select(nearest, first.input)) == [TEXTS[0], TEXTS[0]]
    with held_out(first):
        assert TEXTS[0] not in _messages(pool.select(nearest, first.input))
        assert len(pool.select(nearest, first.input)) == 2
        assert pool.select({"select": "fixed", "ids": [copy.id]}, first.input) == []


def test_an_unknown_id_is_refused_with_the_nearest() -> None:
    pool = _pool()
    wrong = pool.ids[0][:-1] + "x"
    with pytest.raises(ProgramError, match=f"No example '{wrong}'.*did you mean '{pool.ids[0]}'"):
        pool.select({"select": "fixed", "ids": [wrong]}, {"message": "x"})


@pytest.mark.parametrize(
    "value", [{}, {"select": "nearest"}, {"select": "nearest", "k": -1}, {"select": "all", "ids": []}]
)
def test_another_form_of_value_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ProgramError, match="Demonstrations are chosen by"):
        _pool().select(value, {"message": "x"})


def test_a_pool_refuses_an_id_twice() -> None:
    example = make_example({"message": "x"}, {"intent": "a"})
    with pytest.raises(DataError, match=f"'{example.id}' more than once"):
        DemoPool([example, example])


def test_a_pool_survives_json_and_leaves_its_index_behind_when_pickled() -> None:
    pool = _pool()
    pool.select({"select": "nearest", "k": 1}, {"message": "euro"})
    assert DemoPool.from_json(pool.to_json()).examples == pool.examples
    again = pickle.loads(pickle.dumps(pool))
    assert again.examples == pool.examples
    assert again._index is None
    assert again.select({"select": "nearest", "k": 1}, {"message": "euro"}) == pool.select(
        {"select": "nearest", "k": 1}, {"message": "euro"}
    )


def test_labels_are_known_only_if_each_example_has_one() -> None:
    assert _pool().labels == ("whe", "my ", "exc", "cas", "the")
    assert DemoPool([make_example({"message": "x"}, {"text": "a"})]).labels is None


def test_a_subset_keeps_the_order_asked_for() -> None:
    pool = _pool()
    assert pool.subset(pool.ids[:2][::-1]).ids == pool.ids[:2][::-1]
    with pytest.raises(ProgramError, match="No example 'nope'"):
        pool.subset(["nope"])


@pytest.mark.parametrize("bad", [None, {}, {"examples": 3}, {"examples": [{"id": "x"}]}])
def test_json_that_is_no_pool_is_refused(bad: object) -> None:
    with pytest.raises(DataError):
        DemoPool.from_json(bad)


def test_the_letters_of_a_picture_do_not_count_for_nearness() -> None:
    picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    rows = [{"photo": picture, "hint": "a dog on grass"}, {"photo": "https://x.test/1.png", "hint": "a cat on a roof"}]
    pool = DemoPool([make_example(row, {"label": row["hint"][2:5]}) for row in rows])
    chosen = pool.select({"select": "nearest", "k": 1}, {"photo": picture, "hint": "the cat on our roof"})
    assert [example.output["label"] for example in chosen] == ["cat"]
