"""Dead letters: bounded, found by filter, driven again with their history."""

from __future__ import annotations

import pytest

from dspex_agents import CountingIds
from dspex_agents.errors import SpecError
from dspex_agents.messaging.dead_letters import DeadLetter, DeadLetterFilter, DeadLetters


def three() -> DeadLetters:
    letters = DeadLetters(CountingIds())
    letters.add("a", "m1", "TimeoutError: slow", 1.0)
    letters.add("b", "m2", "ValueError: bad", 2.0, attempts=3)
    letters.add("a", "m3", "ValueError: worse", 3.0, attempts=2)
    return letters


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ["m1", "m2", "m3"]),
        ({"recipient": "a"}, ["m1", "m3"]),
        ({"reason_contains": "valueerror"}, ["m2", "m3"]),
        ({"before": 2.0}, ["m1"]),
        ({"min_attempts": 2}, ["m2", "m3"]),
        ({"ids": frozenset({"letter-2", "letter-9"})}, ["m2"]),
        ({"recipient": "a", "reason_contains": "ValueError"}, ["m3"]),
        ({"recipient": "c"}, []),
    ],
)
def test_a_filter_means_what_fits_everything_it_says(fields: dict[str, object], found: list[str]) -> None:
    which = DeadLetterFilter(**fields)
    letters = three()
    assert [letter.message for letter in letters.entries(which)] == found
    assert letters.purge(which) == len(found)
    assert len(letters) == 3 - len(found)
    assert letters.entries(which) == ()


def test_a_letter_has_id_recipient_message_reason_attempts_and_times() -> None:
    assert three().entries(limit=2)[1] == DeadLetter("letter-2", "b", "m2", "ValueError: bad", 3, 2.0, 2.0)


def test_a_redriven_letter_is_out_until_it_fails_again_and_keeps_its_history() -> None:
    letters = three()
    (taken,) = letters.redrive(DeadLetterFilter(recipient="b"))
    assert [letter.message for letter in letters.entries()] == ["m1", "m3"]
    assert letters.put_back(taken, "KeyError: now this", 9.0, attempts=2) is None
    assert letters.entries()[-1] == DeadLetter("letter-2", "b", "m2", "KeyError: now this", 5, 2.0, 9.0)
    assert [letter.message for letter in letters.redrive(limit=1)] == ["m1"]


def test_at_the_bound_the_oldest_goes_and_is_told_of() -> None:
    letters = DeadLetters(CountingIds(), size=2)
    assert letters.add("a", "m1", "r", 1.0) is None
    letters.add("a", "m2", "r", 2.0)
    loser = letters.add("a", "m3", "r", 3.0)
    assert loser is not None
    assert (loser.message, letters.dropped, len(letters)) == ("m1", 1, 2)
    (oldest,) = letters.entries(limit=1)
    assert letters.put_back(oldest, "again", 4.0) is None, "one that is still kept takes no second place"
    assert [letter.message for letter in letters.entries()] == ["m3", "m2"]


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(SpecError, match="size must be at least 1"):
        DeadLetters(CountingIds(), size=0)
