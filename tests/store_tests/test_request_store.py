"""Requests in the store, and the feedback on them, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from dspex_agents.database import Database
from dspex_ray.feedback.feedback import Feedback
from dspex_ray.requests_kept.request import RequestDetails
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.requests_kept.sums import UnitSums, Which
from tests.support.kept_requests import kept_row


@pytest.fixture
def requests(database: Database) -> RequestStore:
    return RequestStore(database)


def said(request_id: str, reward: float | None = None, **others: object) -> Feedback:
    told = {"tenant": "default", "endpoint": "shop", **others}
    return Feedback(request_id=request_id, reward=reward, **told)  # type: ignore[arg-type]  # as the test says


def found(requests: RequestStore, **others: object) -> dict[tuple[str, str], UnitSums]:
    told = {"endpoint": "shop", "versions": ("3", "4"), "since": 0.0, **others}
    return {(one.unit, one.version): one for one in requests.sums(Which(**told))}  # type: ignore[arg-type]  # likewise


def test_a_request_comes_back_as_it_was_written_and_a_second_time_it_is_passed_over(requests: RequestStore) -> None:
    details = RequestDetails(reason="weight", revision=2, input={"m": "\0\ud800 é"}, output={"intent": "card"})
    row = kept_row("one", details=details, cost_usd=None, error="timeout", status=504)
    requests.write([row, row])
    requests.write([row])
    back = list(requests.rows("shop"))
    assert len(back) == 1
    texts = {"input": {"m": "\0\ud800 é"}, "output": {"intent": "card"}}
    assert back[0] == {**row, **texts, "reward": None, "correction": None}
    assert list(requests.rows("other")) == list(requests.rows("shop", since=10.1)) == []


def test_the_later_feedback_counts_and_all_is_kept(requests: RequestStore) -> None:
    requests.write([kept_row("one")])
    assert requests.add_feedback(said("one", 1.0, note="good"), by="ann", at=1.0) == 1
    assert requests.add_feedback(said("one", 0.25, correction={"intent": "cash"}), by="bob", at=2.0) == 2
    row = next(requests.rows("shop"))
    assert (row["reward"], row["correction"]) == (0.25, {"intent": "cash"})
    kept = [(one["number"], one["reward"], one["by"]) for one in requests.feedback_on("default", "shop", "one")]
    assert kept == [(1, 1.0, "ann"), (2, 0.25, "bob")]


def test_what_later_feedback_leaves_out_stays_as_it_was(requests: RequestStore) -> None:
    requests.write([kept_row("one")])
    requests.add_feedback(said("one", correction={"intent": "cash"}), by="ann", at=1.0)
    requests.add_feedback(said("one", 0.0), by="ann", at=2.0)
    row = next(requests.rows("shop"))
    assert (row["reward"], row["correction"]) == (0.0, {"intent": "cash"})


@pytest.mark.parametrize("other", [{"tenant": "b"}, {"endpoint": "bank"}, {"request_id": "two"}])
def test_feedback_on_another_tenants_or_an_unknown_request_is_not_kept(
    requests: RequestStore, other: dict[str, str]
) -> None:
    requests.write([kept_row("one", tenant="a")])
    assert (
        requests.add_feedback(said(**{"request_id": "one", "tenant": "a", **other}, reward=1.0), by="", at=1.0) is None
    )
    assert next(requests.rows("shop"))["reward"] is None
    assert requests.feedback_on("a", "shop", "one") == []


def test_feedback_sent_at_once_is_numbered_without_a_gap(requests: RequestStore) -> None:
    requests.write([kept_row("one")])
    with ThreadPoolExecutor(4) as pool:
        numbers = pool.map(lambda n: requests.add_feedback(said("one", n / 10), by="", at=n), range(8))
    assert sorted(number or 0 for number in numbers) == list(range(1, 9))


def test_two_tenants_may_use_one_request_id(requests: RequestStore) -> None:
    requests.write([kept_row("one", tenant="a"), kept_row("one", tenant="b")])
    assert requests.add_feedback(said("one", 1.0, tenant="b"), by="", at=1.0) == 1
    assert {row["tenant"]: row["reward"] for row in requests.rows("shop")} == {"a": None, "b": 1.0}


def test_old_requests_go_with_their_feedback_except_those_that_are_spared(requests: RequestStore) -> None:
    requests.write([kept_row("old", at=1.0), kept_row("new", at=9.0), kept_row("bank", at=4.0, endpoint="bank")])
    for name in ("old", "new"):
        requests.add_feedback(said(name, 1.0), by="", at=9.0)
    assert requests.prune(5.0, spare={"bank": 3.0}) == 1
    assert [row["request_id"] for row in requests.rows("shop")] == ["new"]
    assert requests.feedback_on("default", "shop", "old") == []
    assert len(requests.feedback_on("default", "shop", "new")) == 1
    assert requests.prune(5.0, spare={"bank": 4.5}) == 1
    assert requests.endpoints() == ["shop"]


def test_sums_are_by_user_and_version_and_count_what_the_version_could_have_answered(requests: RequestStore) -> None:
    requests.write(
        [
            kept_row("1", user="ann", latency_s=1.0, cost_usd=0.25),
            kept_row("2", user="ann", latency_s=3.0, cost_usd=None),
            kept_row("3", user="ann", latency_s=9.0, status=502, error="invalid-output"),
            kept_row("4", user="ann", status=422, error="invalid-input"),
            kept_row("5", user="bob", status=422, error="input-too-long"),
            kept_row("6", version="4"),
        ]
    )
    requests.add_feedback(said("1", 0.5), by="", at=1.0)
    ann, nobody, bob = sorted(found(requests).values(), key=lambda one: -one.requests + (one.successes == 0))
    assert (ann.requests, ann.answered, ann.successes) == (4, 3, 2)
    assert ann.measures == {"latency": (4.0, 2), "cost": (0.25, 1), "score": (0.5, 1)}
    assert (bob.requests, bob.answered, bob.successes) == (1, 1, 0)
    assert (nobody.version, nobody.names_user, ann.names_user) == ("4", False, True)
    assert len(found(requests, by_request=True)) == 6


def test_sums_leave_out_shadows_rules_other_revisions_versions_and_times(requests: RequestStore) -> None:
    requests.write(
        [
            kept_row("shadow", shadow=True),
            kept_row("rule", details=RequestDetails(reason="rule:team")),
            kept_row("before", details=RequestDetails(revision=1)),
            kept_row("early", at=1.0),
            kept_row("late", at=20.0),
            kept_row("version", version="5"),
            kept_row("endpoint", endpoint="bank"),
            kept_row("unknown revision"),
            kept_row("in it", details=RequestDetails(reason="sticky", revision=2), at=12.0),
        ]
    )
    which = Which(endpoint="shop", versions=("3", "4"), since=2.0, until=20.0, revision=2)
    assert sum(one.requests for one in requests.sums(which)) == 2
    assert requests.span(which) == (10.0, 12.0)
    assert requests.span(Which(endpoint="none", versions=("3",), since=0.0)) is None


def test_the_salt_is_drawn_once_and_the_store_crosses_processes(requests: RequestStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        salts = {*pool.map(lambda _: requests.salt(), range(4))}
    assert salts == {pickle.loads(pickle.dumps(requests)).salt()}
    assert len(next(iter(salts))) == 32
