"""The mailbox: order, bound and overflow, against a reference model."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dspex_agents.errors import SpecError
from dspex_agents.messaging.mailbox import Mailbox
from dspex_agents.messaging.message import Envelope, Priority


def envelope(number: int, priority: Priority = Priority.NORMAL) -> Envelope:
    return Envelope("a", number, f"m{number}", priority=priority)


def test_higher_priority_comes_first_and_arrival_order_holds_within_one() -> None:
    box = Mailbox()
    for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL, Priority.HIGH]):
        box.put(envelope(number, priority))
    assert [box.get().body for _ in range(5)] == [2, 4, 1, 3, 0]
    assert box.get() is None


def test_a_full_mailbox_refuses_the_newcomer() -> None:
    box = Mailbox(size=1)
    assert box.put(envelope(1)) is None
    assert box.put(envelope(2)).body == 2


def test_drop_oldest_gives_up_the_oldest_of_the_lowest_priority() -> None:
    box = Mailbox(size=2, overflow="drop_oldest")
    box.put(envelope(1, Priority.LOW))
    box.put(envelope(2, Priority.HIGH))
    assert box.put(envelope(3)).body == 1
    assert box.put(envelope(4, Priority.LOW)).body == 4  # never gives up a message for a lower one


@pytest.mark.parametrize(("kwargs", "named"), [({"size": 0}, "size"), ({"overflow": "explode"}, "overflow")])
def test_a_bad_bound_or_policy_is_named(kwargs: dict, named: str) -> None:
    with pytest.raises(SpecError, match=named):
        Mailbox(**kwargs)


class MailboxMachine(RuleBasedStateMachine):
    """A sorted list is the model: the smallest (priority, arrival) leaves first; nothing is lost in silence."""

    def __init__(self) -> None:
        super().__init__()
        self.box, self.model, self.count = Mailbox(size=5, overflow="drop_oldest"), [], 0

    @rule(priority=st.sampled_from(list(Priority)))
    def put(self, priority: Priority) -> None:
        self.count += 1
        loser = self.box.put(envelope(self.count, priority))
        self.model.append((priority, self.count))
        if len(self.model) > 5:
            lowest = max(p for p, _ in self.model)
            candidates = [n for p, n in self.model if p == lowest]
            only_newcomer = lowest == priority and candidates == [self.count]
            expected = self.count if only_newcomer else candidates[0]
            self.model = [entry for entry in self.model if entry[1] != expected]
            assert loser.body == expected
        else:
            assert loser is None

    @rule()
    def get(self) -> None:
        got = self.box.get()
        if not self.model:
            assert got is None
        else:
            first = min(self.model)
            self.model.remove(first)
            assert got.body == first[1]

    @rule(number=st.integers(1, 30))
    def remove(self, number: int) -> None:
        known = [entry for entry in self.model if entry[1] == number]
        assert bool(self.box.remove(f"m{number}")) == bool(known)
        self.model = [entry for entry in self.model if entry[1] != number]

    @invariant()
    def sizes_agree(self) -> None:
        assert len(self.box) == len(self.model) <= 5


TestMailboxMachine = MailboxMachine.TestCase
