"""The mailbox: order, bound, delay, deadlines and overflow, against a reference model."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dspex_agents.errors import SpecError
from dspex_agents.messaging.mailbox import OVERFLOWS, Mailbox
from dspex_agents.messaging.message import Envelope, Priority

SIZE = 4


def envelope(number: int, priority: int = Priority.NORMAL, **fields: float | None) -> Envelope:
    return Envelope("a", number, f"m{number}", priority=priority, **fields)


def bodies(box: Mailbox, now: float = 0.0) -> list[int]:
    found = []
    while (got := box.get(now)) is not None:
        found.append(got.body)
    return found


def test_higher_priority_comes_first_and_arrival_order_holds_within_one() -> None:
    box = Mailbox()
    for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL, Priority.HIGH]):
        box.put(envelope(number, priority))
    assert bodies(box) == [2, 4, 1, 3, 0]


@pytest.mark.parametrize("policy", ["reject", "dead_letter"])
def test_a_full_mailbox_refuses_the_newcomer(policy: str) -> None:
    box = Mailbox(size=1, overflow=policy)
    assert box.put(envelope(1)) is None
    assert box.put(envelope(2)).body == 2


def test_drop_oldest_gives_up_the_oldest_of_the_lowest_priority() -> None:
    box = Mailbox(size=2, overflow="drop_oldest")
    box.put(envelope(1, Priority.LOW))
    box.put(envelope(2, Priority.HIGH))
    assert box.put(envelope(3)).body == 1
    assert box.put(envelope(4, Priority.LOW)).body == 4  # never gives up a message for a lower one


def test_drop_oldest_gives_up_a_delayed_message_only_where_no_other_of_its_priority_is() -> None:
    box = Mailbox(size=2, overflow="drop_oldest")
    box.put(envelope(1, not_before=9.0))
    box.put(envelope(2))
    assert box.put(envelope(3, not_before=8.0)).body == 2
    assert box.put(envelope(4)).body == 3  # the one that is due first


def test_with_block_newcomers_wait_outside_and_come_in_by_priority_as_room_appears() -> None:
    box = Mailbox(size=2, overflow="block")
    assert [box.put(envelope(n, p)) for n, p in ((1, 1), (2, 1), (3, 2), (4, 1))] == [None] * 4
    assert (len(box), box.outside) == (2, 2)
    assert box.put(envelope(5)).body == 5  # as many wait outside as inside may be
    assert box.get(0).body == 1
    assert box.remove("m2").body == 2
    assert box.outside == 0
    assert bodies(box) == [4, 3]


def test_a_delayed_message_counts_at_once_and_is_not_handed_out_before_it_is_due() -> None:
    box = Mailbox(size=2)
    box.put(envelope(1, not_before=5.0))
    box.put(envelope(2, not_before=3.0))
    assert box.put(envelope(3)).body == 3
    assert (box.get(2.9), box.next_due()) == (None, 3.0)
    assert box.get(3.0).body == 2
    box.put(envelope(4))
    assert bodies(box, 5.0) == [4, 1]  # one takes its place in line when it is due


def test_what_is_overdue_is_taken_out_wherever_it_waits() -> None:
    box = Mailbox(size=2, overflow="block")
    box.put(envelope(1, deadline_at=1.0))
    box.put(envelope(2, deadline_at=2.0, not_before=9.0))
    box.put(envelope(3, deadline_at=1.5))
    box.put(envelope(4, deadline_at=8.0))
    assert box.next_deadline() == 1.0
    assert sorted(e.body for e in box.expire(2.0)) == [1, 2, 3]
    assert (bodies(box), box.next_deadline()) == ([4], None)


def test_draining_gives_everything_the_delayed_and_those_outside_last() -> None:
    box = Mailbox(size=3, overflow="block")
    for e in (envelope(1, not_before=9.0), envelope(2), envelope(3, Priority.HIGH), envelope(4)):
        box.put(e)
    assert [e.body for e in box.drain()] == [3, 2, 1, 4]
    assert (len(box), box.outside, box.next_due()) == (0, 0, None)


@dataclass
class Silent:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_the_listing_shows_the_start_of_each_body_and_never_fails() -> None:
    box = Mailbox()
    for number, body in enumerate(("x" * 10_000, Silent(), {"key": ["value"] * 1000})):
        box.put(Envelope("a", body, f"m{number}", sender="b", deadline_at=7.0))
    shown = box.listing(2)
    assert [w.id for w in shown] == ["m0", "m1"]
    assert all(len(w.preview) <= 120 for w in box.listing(100))
    assert shown[0].preview.startswith("'xxx")
    assert "Silent" in shown[1].preview
    assert (shown[0].sender, shown[0].priority, shown[0].deadline_at) == ("b", "normal", 7.0)
    assert box.listing(-1) == ()


@pytest.mark.parametrize(("kwargs", "named"), [({"size": 0}, "size"), ({"overflow": "explode"}, "overflow")])
def test_a_bad_bound_or_policy_is_named(kwargs: dict, named: str) -> None:
    with pytest.raises(SpecError, match=named):
        Mailbox(**kwargs)


def test_a_wrong_policy_is_told_the_right_ones() -> None:
    with pytest.raises(SpecError, match="'reject', 'drop_oldest', 'dead_letter', 'block', got 'explode'"):
        Mailbox(overflow="explode")


def test_an_idle_mailbox_costs_almost_nothing_also_after_use() -> None:
    box = Mailbox(overflow="block", size=1)
    for number in range(2):
        box.put(envelope(number, not_before=0.0))
    assert bodies(box) == [0, 1]
    parts = [getattr(box, name) for name in Mailbox.__slots__]
    assert sum(map(sys.getsizeof, [box, *parts])) < 400


@dataclass
class Waiting:
    """One message of the model; `order` is its place in line, given when it comes in, again when it is due."""

    envelope: Envelope
    order: int
    is_delayed: bool


class MailboxMachine(RuleBasedStateMachine):
    """The model is one list: whatever is asked of the mailbox is looked up in it by sorting."""

    @initialize(policy=st.sampled_from(OVERFLOWS))
    def begin(self, policy: str) -> None:
        self.policy, self.box = policy, Mailbox(size=SIZE, overflow=policy)
        self.inside: list[Waiting] = []
        self.outside: list[Waiting] = []
        self.numbers, self.now = 0, 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def enter(self, e: Envelope) -> None:
        self.inside.append(Waiting(e, self.number(), e.not_before is not None))

    def admit(self) -> None:
        while self.outside and len(self.inside) < SIZE:
            first = min(self.outside, key=lambda w: (w.envelope.priority, w.order))
            self.outside.remove(first)
            self.enter(first.envelope)

    def in_order(self) -> list[Waiting]:
        ready = sorted((w for w in self.inside if not w.is_delayed), key=lambda w: (w.envelope.priority, w.order))
        later = sorted((w for w in self.inside if w.is_delayed), key=lambda w: (w.envelope.not_before, w.order))
        return ready + later + sorted(self.outside, key=lambda w: (w.envelope.priority, w.order))

    @rule(
        priority=st.sampled_from([int(p) for p in Priority]),
        delay=st.none() | st.integers(-1, 5),
        time=st.none() | st.integers(0, 9),
    )
    def put(self, priority: int, delay: int | None, time: int | None) -> None:
        number = self.number()
        not_before = None if delay is None else self.now + delay
        deadline = None if time is None else self.now + time
        e = envelope(number, priority, not_before=not_before, deadline_at=deadline)
        loser = self.box.put(e)
        if len(self.inside) < SIZE:
            assert loser is None
            self.enter(e)
        elif self.policy == "block" and len(self.outside) < SIZE:
            assert loser is None
            self.outside.append(Waiting(e, number, is_delayed=False))
        elif self.policy == "drop_oldest" and priority <= max(w.envelope.priority for w in self.inside):
            lowest = max(w.envelope.priority for w in self.inside)
            expected = next(w for w in self.in_order() if w.envelope.priority == lowest)
            assert loser is expected.envelope
            self.inside.remove(expected)
            self.enter(e)
        else:
            assert loser is e

    @rule(seconds=st.integers(0, 3))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def get(self) -> None:
        due = [w for w in self.inside if w.is_delayed and w.envelope.not_before <= self.now]
        for waiting in sorted(due, key=lambda w: (w.envelope.not_before, w.order)):
            waiting.is_delayed, waiting.order = False, self.number()
        ready = [w for w in self.in_order() if w in self.inside and not w.is_delayed]
        got = self.box.get(self.now)
        assert got is (ready[0].envelope if ready else None)
        if ready:
            self.inside.remove(ready[0])
            self.admit()

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        waiting = data.draw(st.sampled_from(self.in_order()))
        assert self.box.remove(waiting.envelope.id) is waiting.envelope
        (self.inside if waiting in self.inside else self.outside).remove(waiting)
        self.admit()

    @rule()
    def remove_a_stranger(self) -> None:
        assert self.box.remove("m0") is None

    @rule()
    def expire(self) -> None:
        def is_overdue(w: Waiting) -> bool:
            return w.envelope.deadline_at is not None and w.envelope.deadline_at <= self.now

        gone = [w.envelope for w in self.in_order() if is_overdue(w)]
        assert self.box.expire(self.now) == gone
        self.inside = [w for w in self.inside if not is_overdue(w)]
        self.outside = [w for w in self.outside if not is_overdue(w)]
        self.admit()

    @rule()
    def drain(self) -> None:
        assert self.box.drain() == [w.envelope for w in self.in_order()]
        self.inside, self.outside = [], []

    @invariant()
    def figures_agree(self) -> None:
        everything = self.in_order()
        assert len(self.box) == len(self.inside) <= SIZE
        assert self.box.outside == len(self.outside) <= SIZE
        assert [w.id for w in self.box.listing(99)] == [w.envelope.id for w in everything]
        delays = [w.envelope.not_before for w in self.inside if w.is_delayed]
        assert self.box.next_due() == min(delays, default=None)
        deadlines = [w.envelope.deadline_at for w in everything if w.envelope.deadline_at is not None]
        assert self.box.next_deadline() == min(deadlines, default=None)


TestMailboxMachine = MailboxMachine.TestCase
