"""`dspex data`: kept requests with feedback become data that `dspex optimize` reads, and old ones end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dspex_agents.clock import SystemClock
from dspex_ray.feedback.receiving import record_feedback
from dspex_ray.requests_kept.request import RequestDetails
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.store import open_store
from tests.support.kept_requests import kept_row

Run = Callable[..., Any]


def keep(*requests: dict[str, Any]) -> RequestStore:
    store = RequestStore(open_store().database)
    store.write(requests)
    return store


def answered(name: str, text: str, intent: str, *, at: float = 10.0, kept: bool = True) -> dict[str, Any]:
    content = RequestDetails(input={"message": text, "stars": 5}, output={"intent": intent}) if kept else None
    return kept_row(name, details=content, at=at)


def say(store: RequestStore, name: str, **said: Any) -> None:
    record_feedback(store, name, endpoint="shop", at=20.0, **said)


def test_what_is_exported_is_what_optimize_learns_from(dspex: Run, folder: Path) -> None:
    texts = [(f"{text} {number}", label) for number in range(12) for text, label in (("a card", "card"), ("€", "cash"))]
    given = ((str(n), text, "rate" if n % 2 else label) for n, (text, label) in enumerate(texts))
    store = keep(*(answered(*one, at=float(n)) for n, one in enumerate(given)))
    for number, (_, label) in enumerate(texts):
        say(store, str(number), **({"correction": {"intent": label}} if number % 2 else {"reward": 1.0}))
    said = dspex("data", "export", "shop", "--out", "good.jsonl", "--json")
    assert said.json == {"file": "good.jsonl", "rows": 24, "corrected": 12, "requests": 24, "without_content": 0}
    rows = [json.loads(line) for line in (folder / "good.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["message"], row["intent"]) for row in rows] == texts
    search = ("--data", "good.jsonl", "--trials", "2", "--runtime", "in-process", "--json")
    assert dspex("optimize", "shop:Route", *search).code == 0


def test_only_requests_since_a_time_and_with_enough_reward_are_taken(dspex: Run, folder: Path) -> None:
    day = 86_400.0
    store = keep(answered("old", "a", "card", at=day), answered("new", "b", "cash", at=3 * day))
    for name in ("old", "new"):
        say(store, name, reward=0.8)
    assert "was corrected or has enough reward" in dspex("data", "export", "shop", "--out", "x.jsonl").err
    assert not (folder / "x.jsonl").exists()
    words = ("data", "export", "shop", "--out", "x.jsonl", "--least-reward", "0.8", "--since", "1970-01-03", "--json")
    assert dspex(*words).json["rows"] == 1
    assert json.loads((folder / "x.jsonl").read_text()) == {"message": "b", "stars": 5, "intent": "cash"}


def test_requests_whose_content_was_not_kept_are_told_of(dspex: Run) -> None:
    store = keep(answered("1", "a", "card", kept=False), answered("2", "b", "cash"))
    say(store, "1", reward=1.0)
    said = dspex("data", "export", "shop", "--out", "x.jsonl")
    assert (said.code, "were not kept" in said.err.replace("\n", " ")) == (2, True)
    say(store, "2", reward=1.0)
    assert "1 more have good feedback" in dspex("data", "export", "shop", "--out", "x.jsonl").out


def test_old_requests_are_removed(dspex: Run) -> None:
    keep(answered("old", "a", "card"), answered("new", "b", "cash", at=SystemClock().now()))
    assert dspex("data", "prune", "--older-than-days", "1", "--json").json == {"removed": 1}
    assert dspex("data", "prune", "--older-than-days", "1").out == "Removed 0 requests.\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("export shpo --out x.jsonl", "Did you mean 'shop'?"),
        ("export shop --out x.csv", "the file's ending says its form"),
        ("export shop --out none/x.jsonl", "the folder none does not exist"),
        ("export shop --out x.jsonl --since yesterday", "--since is a day or time such as"),
        ("export shop --out x.jsonl --least-reward 2", "--least-reward is between 0 and 1"),
        ("export shop", "Missing option '--out'"),
        ("prune", "Missing option '--older-than-days'"),
        ("prune --older-than-days nan", "--older-than-days is 0 or more, got nan"),
    ],
)
def test_mistakes_are_told(dspex: Run, words: str, told: str) -> None:
    keep(answered("1", "a", "card"))
    said = dspex("data", *words.split())
    assert said.code == 2
    assert told in said.err.replace("\n", " ")
