"""The bundled demonstration set and the banking example hold what they promise."""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = ROOT / "dspex_ray" / "demo" / "messages.csv"
BANKING = ROOT / "examples" / "banking.py"
BANKING77 = ROOT.parent / "shared" / "data" / "banking77"


def read_messages() -> list[dict[str, str]]:
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def declared_intents() -> list[str]:
    """Read the members of `Intent` from the source, so that no program needs to be imported."""
    for node in ast.parse(BANKING.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Intent":
            assert isinstance(node.value, ast.Subscript)
            return list(ast.literal_eval(node.value.slice))
    pytest.fail(f"{BANKING} assigns no name `Intent`")


def test_demo_set_has_a_message_and_an_intent_in_every_row() -> None:
    rows = read_messages()
    assert {tuple(row) for row in rows} == {("message", "intent")}
    blank = [number for number, row in enumerate(rows, start=2) if not (row["message"].strip() and row["intent"])]
    assert blank == []


def test_demo_set_has_at_least_400_rows_and_12_intents_of_at_least_30_each() -> None:
    counts = Counter(row["intent"] for row in read_messages())
    assert counts.total() >= 400
    assert len(counts) == 12
    assert min(counts.values()) >= 30


def test_demo_set_repeats_no_message_even_if_case_and_punctuation_are_ignored() -> None:
    messages = Counter(" ".join(re.findall(r"\w+", row["message"].lower())) for row in read_messages())
    assert [message for message, count in messages.items() if count > 1] == []


def test_demo_set_does_not_come_sorted_by_intent() -> None:
    # a split by position must see every intent
    assert len({row["intent"] for row in read_messages()[:100]}) == 12


def test_banking_example_declares_77_distinct_intents_in_order() -> None:
    intents = declared_intents()
    assert len(intents) == 77
    assert intents == sorted(set(intents))


@pytest.mark.parametrize("name", ["train.csv", "test.csv"])
def test_banking_example_declares_exactly_the_intents_of_the_data(name: str) -> None:
    path = BANKING77 / name
    if not path.exists():
        pytest.skip(f"{name} of banking77 is not at ../shared/data/banking77")
    with path.open(encoding="utf-8", newline="") as file:
        categories = {row["category"] for row in csv.DictReader(file)}
    assert set(declared_intents()) == categories
