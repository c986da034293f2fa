"""Leases and the line of those who wait: in order, never over the limit, and back when the owner is gone."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dspex_agents import CountingIds
from dspex_agents.errors import SpecError
from dspex_agents.services.bulkhead import OverloadedError
from dspex_agents.services.resource_leases import ResourceLeases, Want, incarnation
from dspex_agents.services.resource_tokens import ResourceExhaustedError, ResourceToken, ResourceTokens


def leases(most_waiting: int = 1000, **limits: float) -> ResourceLeases:
    return ResourceLeases(ResourceTokens(limits or {"gpu": 4}, CountingIds()), most_waiting=most_waiting)


def want(id_: str, amount: float = 1, owner: str = "a@1", lease_s: float | None = None) -> Want:
    return Want(id_, "gpu", amount, owner, lease_s)


def held(book: ResourceLeases, item: Want, now: float = 0.0) -> ResourceToken:
    token = book.acquire(item, now, wait=False)
    assert token is not None
    return token


@pytest.mark.parametrize(
    ("owner", "parts"),
    [
        ("task-1@7", ("task-1", 7)),
        ("a@b@3", ("a@b", 3)),
        ("driver", None),
        ("@3", None),
        ("a@", None),
        ("a@x", None),
        ("a@²", None),
    ],
)
def test_an_owner_is_an_agents_incarnation_or_a_stranger(owner: str, parts: tuple[str, int] | None) -> None:
    assert incarnation(owner) == parts


def test_a_lease_runs_out_unless_it_is_renewed() -> None:
    book = leases()
    kept, lost = held(book, want("1", lease_s=10)), held(book, want("2", lease_s=10))
    assert book.renew(kept.id, 20, 5.0)
    assert book.next_expiry() == 10.0
    assert book.expire(9.9).tokens == ()
    assert book.expire(10.0).tokens == (lost,)
    assert not book.renew(lost.id, 20, 10.0)
    assert book.release(lost.id, 10.0) == (False, ())
    assert book.expire(25.0).tokens == (kept,)
    assert book.next_expiry() is None


def test_a_token_without_a_lease_can_get_one() -> None:
    book = leases()
    token = held(book, want("1"))
    assert book.renew(token.id, 3, 1.0)
    assert book.expire(4.0).tokens == (token,)


def test_those_who_wait_are_served_in_order_and_nobody_overtakes() -> None:
    book = leases()
    first = held(book, want("first", 3))
    assert book.acquire(want("large", 4), 0.0, wait=True) is None
    assert book.acquire(want("small", 1), 0.0, wait=True) is None
    with pytest.raises(ResourceExhaustedError):
        book.acquire(want("impatient", 1), 0.0, wait=False)
    was_out, granted = book.release(first.id, 1.0)
    assert (was_out, [grant.want.id for grant in granted]) == (True, ["large"])
    _, granted = book.release(granted[0].token.id, 2.0)
    assert [grant.want.id for grant in granted] == ["small"]


def test_who_gives_up_lets_those_behind_through() -> None:
    book = leases()
    held(book, want("first", 3))
    large = want("large", 4)
    book.acquire(large, 0.0, wait=True)
    book.acquire(want("small", 1), 0.0, wait=True)
    assert [grant.want.id for grant in book.give_up(large, 1.0)] == ["small"]
    assert book.give_up(large, 1.0) == ()


def test_the_line_is_bounded_and_the_error_says_when_a_lease_ends() -> None:
    book = leases(most_waiting=1)
    held(book, want("first", 4, lease_s=7))
    book.acquire(want("second"), 0.0, wait=True)
    with pytest.raises(OverloadedError) as caught:
        book.acquire(want("third"), 1.0, wait=True)
    assert (caught.value.what, caught.value.waiting, caught.value.retry_after_s) == ("gpu", 1, 6.0)
    with pytest.raises(ResourceExhaustedError):
        book.acquire(want("fourth"), 1.0, wait=False)


def test_an_earlier_incarnation_is_gone_at_once_and_a_missing_agent_at_the_second_look() -> None:
    book = leases()
    old, missing, present = (held(book, want(owner, owner=owner)) for owner in ("a@1", "b@1", "c@5"))
    held(book, want("driver", owner="driver", lease_s=100))
    book.acquire(want("waits", 1, owner="b@1"), 0.0, wait=True)
    back = book.reclaim({"a": 2, "c": 5}, 1.0)
    assert back.tokens == (old,)
    assert [grant.want.id for grant in back.granted] == ["waits"], "it may only be starting"
    back = book.reclaim({"a": 2, "c": 4}, 2.0)
    assert {token.owner for token in back.tokens} == {"b@1"}
    assert {token.resource for token in back.tokens} == {missing.resource}
    assert book.owners() == {present.owner}


def test_an_agent_that_was_seen_again_is_not_gone_at_its_next_absence() -> None:
    book = leases()
    held(book, want("1", owner="a@1"))
    for epochs in ({}, {"a": 1}, {}, {"a": 1}):
        assert book.reclaim(epochs, 0.0).tokens == ()
    book.reclaim({}, 0.0)
    assert len(book.reclaim({}, 0.0).tokens) == 1


def test_who_waits_and_is_gone_waits_no_more() -> None:
    book = leases()
    held(book, want("1", 4, owner="a@1"))
    item = want("2", 1, owner="b@1")
    book.acquire(item, 0.0, wait=True)
    assert book.reclaim({"a": 1, "b": 2}, 0.0).ended == (item,)
    assert book.waiting() == 0


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (want("1", lease_s=0), "lease_s must be a positive number"),
        (want("1", lease_s=float("nan")), "lease_s must be a positive number"),
        (want("1", owner="driver"), r"must be an agent's incarnation, name@epoch \(see owner_of\), got 'driver'"),
        (want("1", 5), "over 0 and at most 4"),
        (Want("1", "tpu", 1, "a@1"), "No resource 'tpu'"),
    ],
)
def test_what_can_never_be_is_refused(item: Want, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        leases().acquire(item, 0.0, wait=True)
    with pytest.raises(SpecError, match="most_waiting must not be negative"):
        leases(most_waiting=-1)
    with pytest.raises(SpecError, match="lease_s"):
        leases().renew("token-1", 0, 0.0)


class AgainstTheModel(RuleBasedStateMachine):
    """The model is a list of who holds and a list of who waits; everything is looked up by going through them."""

    def __init__(self) -> None:
        super().__init__()
        self.book = leases(most_waiting=3, gpu=4)
        self.now, self.count = 0.0, 0
        self.out: list[tuple[ResourceToken, float | None]] = []
        self.line: list[Want] = []

    def free(self) -> float:
        return 4 - sum(token.amount for token, _ in self.out)

    def serve(self, granted: object) -> None:
        told = {grant.want.id: grant.token for grant in granted}  # type: ignore[attr-defined]
        while self.line and self.line[0].amount <= self.free():
            item = self.line.pop(0)
            until = None if item.lease_s is None else self.now + item.lease_s
            self.out.append((told.pop(item.id), until))
        assert not told

    @rule(
        amount=st.integers(1, 4),
        owner=st.sampled_from(["a@1", "a@2", "b@1"]),
        lease_s=st.sampled_from([None, 5.0]),
        wait=st.booleans(),
    )
    def acquire(self, amount: int, owner: str, lease_s: float | None, wait: bool) -> None:  # noqa: FBT001 - drawn
        self.count += 1
        item = Want(str(self.count), "gpu", amount, owner, lease_s)
        at_once = not self.line and amount <= self.free()
        try:
            token = self.book.acquire(item, self.now, wait=wait)
        except ResourceExhaustedError:
            assert not at_once
            assert not wait
        except OverloadedError:
            assert wait
            assert len(self.line) == 3
        else:
            assert (token is not None) == at_once
            if token is None:
                self.line.append(item)
            else:
                self.out.append((token, None if lease_s is None else self.now + lease_s))

    @rule(which=st.integers(0, 9))
    def release(self, which: int) -> None:
        if self.out:
            token, _ = self.out.pop(which % len(self.out))
            was_out, granted = self.book.release(token.id, self.now)
            assert was_out
            self.serve(granted)

    @rule(which=st.integers(0, 9))
    def give_up(self, which: int) -> None:
        if self.line:
            self.serve(self.book.give_up(self.line.pop(which % len(self.line)), self.now))

    @rule(seconds=st.sampled_from([1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        back = self.book.expire(self.now)
        over = {token.id for token, until in self.out if until is not None and until <= self.now}
        assert {token.id for token in back.tokens} == over
        self.out = [(token, until) for token, until in self.out if token.id not in over]
        self.serve(back.granted)

    @rule()
    def the_first_incarnation_of_a_is_gone(self) -> None:
        back = self.book.reclaim({"a": 2, "b": 1}, self.now)
        assert {token.id for token in back.tokens} == {token.id for token, _ in self.out if token.owner == "a@1"}
        assert list(back.ended) == [item for item in self.line if item.owner == "a@1"]
        self.out = [(token, until) for token, until in self.out if token.owner != "a@1"]
        self.line = [item for item in self.line if item.owner != "a@1"]
        self.serve(back.granted)

    @invariant()
    def never_over_the_limit_and_all_are_known(self) -> None:
        assert self.free() >= 0
        assert self.book.waiting() == len(self.line)
        assert self.book.owners() == {*(token.owner for token, _ in self.out), *(item.owner for item in self.line)}
        assert self.book.next_expiry() == min((until for _, until in self.out if until is not None), default=None)


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
