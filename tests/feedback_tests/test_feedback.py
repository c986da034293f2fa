"""Feedback as it is sent: what is wrong is named by path, what is another tenant's is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.database import Database
from dspex_ray.errors import InputError, UsageError
from dspex_ray.feedback.feedback import Feedback, read_feedback
from dspex_ray.feedback.receiving import answer_feedback, record_feedback
from dspex_ray.feedback.training_rows import training_rows
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.serving.contract import Caller
from dspex_ray.serving.problem import Problem
from tests.support.kept_requests import kept_row

ANN = Caller(tenant="a", key_id="k1", user="ann@example.com")


@pytest.fixture
def requests(tmp_path: Path) -> RequestStore:
    kept = RequestStore(Database(str(tmp_path / "s.db")))
    kept.write([kept_row("one", tenant="a")])
    return kept


def test_a_reward_and_a_correction_are_kept_under_the_key_and_not_the_user(requests: RequestStore) -> None:
    body = {"request_id": "one", "reward": True, "correction": {"intent": "card"}, "note": "as agreed"}
    assert answer_feedback(requests, "shop", ANN, body, at=5.0) == {"request_id": "one", "feedback": 1}
    kept = requests.feedback_on("a", "shop", "one")[0]
    assert (kept["reward"], kept["correction"], kept["note"]) == (1.0, {"intent": "card"}, "as agreed")
    assert (kept["by"], kept["at"]) == ("k1", 5.0)


@pytest.mark.parametrize(("tenant", "name"), [("b", "one"), ("a", "two")])
def test_a_foreign_request_is_answered_like_one_that_never_was(requests: RequestStore, tenant: str, name: str) -> None:
    found = answer_feedback(requests, "shop", Caller(tenant=tenant), {"request_id": name, "reward": 1}, at=5.0)
    assert isinstance(found, Problem)
    assert (found.status, found.code) == (404, "request-not-found")
    assert found.detail.startswith(f"shop has no request {name!r}.")
    with pytest.raises(UsageError, match="has no request"):
        record_feedback(requests, name, endpoint="shop", at=5.0, reward=1.0, caller=Caller(tenant=tenant))


@pytest.mark.parametrize(
    ("body", "path", "told"),
    [
        ([], "", "must be an object, got a list"),
        ({"reward": 1}, "", "needs 'request_id'"),
        ({"request_id": "one"}, "", "a reward or a correction is needed"),
        ({"request_id": 7, "reward": 1}, "request_id", "must be a text, got a number"),
        ({"request_id": "", "reward": 1}, "request_id", "is the `x-request-id`"),
        ({"request_id": "one\0", "reward": 1}, "request_id", "is the `x-request-id`"),
        ({"request_id": "one", "reward": 1.5}, "reward", "between 0 and 1, got 1.5"),
        ({"request_id": "one", "reward": float("nan")}, "reward", "between 0 and 1"),
        ({"request_id": "one", "reward": "high"}, "reward", "must be a number"),
        ({"request_id": "one", "correction": []}, "correction", "must be an object"),
        ({"request_id": "one", "correction": {}}, "correction", "names no field"),
        ({"request_id": "one", "correction": {"a": float("inf")}}, "correction", "is no JSON"),
        ({"request_id": "one", "correction": {"a": "x" * 70_000}}, "correction", "more than 64000"),
        ({"request_id": "one", "reward": 1, "note": "x" * 2001}, "note", "at most 2000"),
        ({"request_id": "one", "reward": 1, "rewrad": 1}, "", "did you mean 'reward'"),
    ],
)
def test_bad_feedback_is_a_422_that_names_the_field(requests: RequestStore, body: Any, path: str, told: str) -> None:
    found = answer_feedback(requests, "shop", ANN, body, at=5.0)
    assert isinstance(found, Problem)
    assert found.status == 422
    assert any(where == path and told in message for where, message in found.errors), found.errors
    assert requests.feedback_on("a", "shop", "one") == []


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as found:
        Feedback(tenant="a", endpoint="shop", request_id="", reward=2.0, correction={}, note="x" * 3000)
    assert [path for path, _ in found.value.problems] == ["request_id", "reward", "correction", "note"]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.dictionaries(st.text(), one)))
def test_whatever_is_sent_is_feedback_or_an_input_error(body: Any) -> None:
    for sent in (body, {"request_id": body, "reward": body, "correction": body, "note": body}):
        try:
            found = read_feedback(sent, tenant="a", endpoint="shop")
        except InputError:
            continue
        assert found.reward is None or 0 <= found.reward <= 1
        assert (found.reward, found.correction) != (None, None)


def request(text: str, output: str | None = "card", reward: float | None = None, **others: Any) -> dict[str, Any]:
    answered = None if output is None else {"intent": output, "confidence": 0.5}
    row = {"input": {"message": text}, "output": answered, "reward": reward, "correction": None, "shadow": False}
    return {**row, **others}


def test_rows_to_learn_from_have_good_or_corrected_outputs() -> None:
    found = training_rows(
        [
            request("good", reward=1.0),
            request("bad", reward=0.5),
            request("silent"),
            request("wrong", reward=0.0, correction={"intent": "cash"}),
            request("a shadow's", reward=1.0, shadow=True),
            request("not kept", reward=1.0, input=None),
        ]
    )
    assert found.rows == (
        {"message": "good", "intent": "card", "confidence": 0.5},
        {"message": "wrong", "intent": "cash", "confidence": 0.5},
    )
    assert (found.requests, found.corrected, found.without_content) == (6, 1, 1)


def test_of_one_input_the_last_correction_counts_before_any_reward() -> None:
    corrected = request("x", correction={"intent": "cash"})
    rows = [request("x", reward=1.0), corrected, request("x", "rate", reward=1.0)]
    assert [row["intent"] for row in training_rows(rows).rows] == ["cash"]
    again = [*rows, request("x", correction={"intent": "rate"})]
    assert [row["intent"] for row in training_rows(again).rows] == ["rate"]
    assert [row["intent"] for row in training_rows([rows[0], rows[2]]).rows] == ["rate"]
