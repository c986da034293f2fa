"""The rules of a shared variable: who decides, which value comes of it, and what is refused."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination import Choice, Float, Int, Space, SpaceError, VariableError
from dspex_coordination.shared_variables import (
    Average,
    Ballot,
    BallotBox,
    Change,
    Consensus,
    Decision,
    HandOver,
    Join,
    Leader,
    NotLeaderError,
    Policy,
    Propose,
    SharedState,
    SharedVariableError,
    StaleVersionError,
    UnknownVersionError,
    ValueBook,
    Versioned,
    Vote,
)
from dspex_coordination.shared_variables.policy import Assembly
from dspex_coordination.shared_variables.value_book import MOST_AGENTS, Fields

AXIS = Float(0.0, 1.0)
YES, NO = Ballot(accept=True), Ballot(accept=False, reason="too dear")
THREE = {"a": 1.0, "b": 1.0, "c": 1.0}


def decided(policy: Assembly, members: dict[str, float], ballots: dict[str, Ballot | str]) -> Decision | None:
    """Cast in order; a text is the reason of one that is silent, "gone" of one that does not live."""
    box = BallotBox(policy, members, 0.7, AXIS)
    decision = None
    for member, ballot in ballots.items():
        if isinstance(ballot, str):
            box.miss(member, ballot, gone=ballot == "gone")
        else:
            box.cast(member, ballot)
        decision = box.decided()
    return decision


# votes --------------------------------------------------------------------------------------------------------------
def test_bug_voters_decide_at_random() -> None:
    """The decision follows from the ballots alone, whatever their order and however often it is taken."""
    for answers in itertools.product([YES, NO], repeat=3):
        ballots: dict[str, Ballot | str] = dict(zip("abc", answers, strict=True))
        expected = answers.count(YES) >= 2
        for _ in range(20):
            for order in itertools.permutations("abc"):
                decision = None
                box = BallotBox(Vote(), THREE, 0.7)
                for member in order:
                    if (decision := box.decided()) is None:
                        ballot = ballots[member]
                        assert isinstance(ballot, Ballot)
                        box.cast(member, ballot)
                decision = decision or box.decided()
                assert decision is not None
                assert decision.accepted is expected


def test_a_vote_ends_as_soon_as_no_answer_can_change_it() -> None:
    assert decided(Vote(), THREE, {"a": YES}) is None
    early = decided(Vote(), THREE, {"a": YES, "b": YES})
    assert early == Decision(
        accepted=True, value=0.7, answers={"a": "accepted", "b": "accepted", "c": "was not waited for"}
    )
    assert decided(Vote(), THREE, {"a": NO}) is None
    lost = decided(Vote(), THREE, {"a": NO, "b": NO})
    assert lost is not None
    assert str(lost) == "a rejected it (too dear); b rejected it (too dear); c was not waited for"


def test_half_of_the_weight_is_no_majority() -> None:
    tied = decided(Vote(), {"a": 1.0, "b": 1.0}, {"a": YES, "b": NO})
    assert tied is not None
    assert not tied.accepted
    heavy = decided(Vote(), {"a": 3.0, "b": 1.0, "c": 1.0}, {"a": YES})
    assert heavy is not None
    assert heavy.accepted


def test_who_is_silent_or_gone_still_counts_among_the_registered() -> None:
    result = decided(Vote(), THREE, {"a": YES, "b": "gone", "c": "no answer within 10 s"})
    assert result is not None
    assert not result.accepted
    assert result.answers["c"] == "gave no answer (no answer within 10 s)"


def test_a_vote_may_ask_for_more_than_half() -> None:
    ballots: dict[str, Ballot | str] = {"a": YES, "b": YES, "c": NO}
    result = decided(Vote(share=2 / 3), THREE, ballots)
    assert result is not None
    assert not result.accepted


# consensus ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ballots", "accepted"),
    [
        ({"a": YES, "b": YES, "c": YES}, True),
        ({"a": YES, "b": YES, "c": "gone"}, True),
        ({"a": YES, "b": YES, "c": "too late"}, False),
        ({"a": YES, "b": NO}, False),
        ({"a": "gone", "b": "gone", "c": "gone"}, False),
        ({"a": YES, "b": YES, "c": Ballot()}, False),
    ],
)
def test_all_who_live_must_accept(ballots: dict[str, Ballot | str], *, accepted: bool) -> None:
    result = decided(Consensus(), THREE, ballots)
    assert result is not None
    assert result.accepted is accepted


# average ------------------------------------------------------------------------------------------------------------
def averaged(policy: Average, axis: Float | Int, **wanted: float) -> float:
    box = BallotBox(policy, dict.fromkeys(wanted, 1.0), None, axis)
    for member, value in wanted.items():
        box.cast(member, Ballot(value=value))
    decision = box.decided()
    assert decision is not None
    assert decision.accepted
    result: float = decision.value
    return result


def test_the_average_is_on_the_variables_own_axis() -> None:
    assert averaged(Average(), Float(0.0, 2.0), a=0.5, b=1.0) == pytest.approx(0.75)
    assert averaged(Average(), Float(1e-4, 1.0, log=True), a=1e-3, b=1e-1) == pytest.approx(1e-2)
    assert averaged(Average(), Float(0.0, 1.0, step=0.25), a=0.25, b=0.5, c=0.25) in (0.25, 0.5)


def test_trimming_leaves_the_ends_out() -> None:
    wanted = {"a": 0.0, "b": 0.4, "c": 0.5, "d": 0.6, "e": 1.0}
    assert averaged(Average(trim=0.2), AXIS, **{**wanted, "e": 0.6}) == pytest.approx(0.5)
    assert averaged(Average(trim=0.4), AXIS, **wanted) == pytest.approx(0.5)


def test_weights_count_in_the_average() -> None:
    box = BallotBox(Average(), {"a": 3.0, "b": 1.0}, None, AXIS)
    box.cast("a", Ballot(value=0.0))
    box.cast("b", Ballot(value=1.0))
    decision = box.decided()
    assert decision is not None
    assert decision.value == pytest.approx(0.25)


def test_an_average_needs_values_of_more_than_half_of_the_weight() -> None:
    some = decided(Average(), THREE, {"a": Ballot(value=0.2), "b": Ballot(value=7.0), "c": "gone"})
    assert some is not None
    assert not some.accepted
    assert "gave no valid value" in some.answers["b"]
    most = decided(Average(), THREE, {"a": Ballot(value=0.2), "b": Ballot(value=0.4), "c": "gone"})
    assert most is not None
    assert most.value == pytest.approx(0.3)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.floats(0.0, 0.49))
def test_the_average_is_a_valid_value_between_those_wanted(values: list[int], trim: float) -> None:
    axis = Int(1, 9)
    result = averaged(Average(trim=trim), axis, **{f"m{i}": value for i, value in enumerate(values)})
    assert axis.validate(result) == result
    assert min(values) <= result <= max(values)


# boxes --------------------------------------------------------------------------------------------------------------
def test_a_member_answers_once_and_others_have_no_say() -> None:
    box = BallotBox(Vote(), THREE, 0.7)
    box.cast("a", YES)
    with pytest.raises(SharedVariableError, match="'a' has answered already"):
        box.cast("a", NO)
    with pytest.raises(SharedVariableError, match="'stranger' is no member"):
        box.miss("stranger", "who?", gone=True)
    with pytest.raises(SharedVariableError, match="No agent has joined"):
        BallotBox(Vote(), {}, 0.7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vote(share=0.4), "share must be at least 0.5"),
        (lambda: Vote(timeout_s=0), "timeout_s must be seconds above 0"),
        (lambda: Consensus(timeout_s=float("inf")), "timeout_s must be seconds above 0"),
        (lambda: Average(trim=0.5), "trim must be at least 0 and below 0.5"),
        (lambda: Leader(""), "name must be that of an agent"),
        (lambda: ValueBook(Choice(["a", "b"]), Average()), "Only numbers and ordered options"),
        (lambda: ValueBook(Space({"x": AXIS}), Average()), "Only numbers and ordered options"),
        (lambda: ValueBook(AXIS, Vote(), history=0), "history must keep at least 1"),
    ],
)
def test_what_cannot_decide_is_refused_when_it_is_made(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(SharedVariableError, match=message):
        make()


# the book -----------------------------------------------------------------------------------------------------------
class Kept:
    """A book and the state that its changes made."""

    def __init__(self, policy: Policy, domain: Float | Space = AXIS, history: int = 100) -> None:
        self.book = ValueBook(domain, policy, history)
        self.state = SharedState()
        self.take(self.book.initial())

    def take(self, fields: Fields) -> None:
        self.state = self.state.model_copy(update={str(name): value for name, value in fields.items()})

    def propose(self, asked: Propose, at: float = 5.0) -> None:
        self.take(self.book.changed(self.state, self.book.admitted(self.state, asked), asked, at))


def test_each_change_is_one_version_more_and_the_default_is_version_0() -> None:
    kept = Kept(Leader("boss"))
    assert kept.book.read(kept.state, None) == Versioned(0, 0.5)
    kept.propose(Propose("boss", 0.7), at=9.0)
    assert kept.book.read(kept.state, None) == Versioned(1, 0.7)
    assert [Change(**change) for change in kept.state.history] == [Change(1, 0.7, "boss", "leader", 9.0)]


def test_a_stale_version_is_refused_and_says_which_is_current() -> None:
    kept = Kept(Vote())
    kept.propose(Propose("a", 0.7, expected=0))
    with pytest.raises(StaleVersionError, match="Version 0 was expected, but 1 is current") as caught:
        kept.propose(Propose("b", 0.8, expected=0))
    assert (caught.value.expected, caught.value.current) == (0, 1)
    kept.propose(Propose("b", 0.8, expected=1))
    assert kept.state.value == 0.8


def test_only_the_leader_decides_and_only_its_latest_incarnation() -> None:
    kept = Kept(Leader("boss"))
    with pytest.raises(NotLeaderError, match="'boss' leads, not 'clerk'"):
        kept.propose(Propose("clerk", 0.7))
    kept.propose(Propose("boss", 0.7, epoch=3))
    with pytest.raises(NotLeaderError, match="Incarnation 2 of 'boss' is past: 3"):
        kept.propose(Propose("boss", 0.9, epoch=2))
    assert kept.state.value == 0.7


def test_a_leader_hands_over_once_and_then_leads_no_more() -> None:
    kept = Kept(Leader("boss"))
    kept.propose(Propose("boss", 0.7, epoch=3))
    kept.take(kept.book.handed_over(kept.state, HandOver("boss", 3, "heir")))
    kept.propose(Propose("heir", 0.8, epoch=1))
    with pytest.raises(NotLeaderError, match="'heir' leads"):
        kept.propose(Propose("boss", 0.9, epoch=4))
    with pytest.raises(SharedVariableError, match="has no leader"):
        Kept(Vote()).book.handed_over(SharedState(), HandOver("a", 1, "b"))


def test_a_value_outside_the_domain_is_refused_with_every_problem() -> None:
    with pytest.raises(VariableError, match=r"2\.0 is not allowed"):
        Kept(Leader("boss")).propose(Propose("boss", 2.0))
    space = Space({"heat": Float(0.0, 1.0), "model": Choice(["small", "large"])})
    kept = Kept(Leader("boss"), space)
    assert kept.state.value == {"heat": 0.5, "model": "small"}
    with pytest.raises(SpaceError) as caught:
        kept.propose(Propose("boss", {"heat": 3.0, "model": "huge"}))
    assert len(caught.value.problems) == 2
    kept.propose(Propose("boss", {"heat": 0.25, "model": "large"}))
    assert kept.state.value == {"heat": 0.25, "model": "large"}


def test_the_history_is_bounded_and_what_it_forgot_is_named() -> None:
    kept = Kept(Leader("boss"), history=3)
    for step in range(1, 6):
        kept.propose(Propose("boss", step / 10))
    assert [change["version"] for change in kept.state.history] == [3, 4, 5]
    assert kept.book.read(kept.state, 3) == Versioned(3, 0.3)
    for version in (1, 6):
        with pytest.raises(UnknownVersionError, match=f"no version {version} any more or yet; kept are 3 to 5"):
            kept.book.read(kept.state, version)


def test_members_have_a_weight_above_0_and_their_number_a_bound() -> None:
    kept = Kept(Vote())
    kept.take(kept.book.joined(kept.state, Join("a", 2.0)))
    kept.take(kept.book.joined(kept.state, Join("a", 3.0)))
    assert kept.state.members == {"a": 3.0}
    for weight in (0.0, float("nan"), float("inf")):
        with pytest.raises(SharedVariableError, match="weight of 'b' must be above 0"):
            kept.book.joined(kept.state, Join("b", weight))
    crowd = SharedState(observers=[f"o{i}" for i in range(MOST_AGENTS)])
    with pytest.raises(SharedVariableError, match="at most 10,000 observers"):
        kept.book.observed(crowd, "one more")
    assert len(kept.book.observed(crowd, "o5")["observers"]) == MOST_AGENTS


@given(st.lists(st.sampled_from(["accept", "reject", "silent", "gone"]), min_size=1, max_size=7), st.integers(0, 99))
def test_an_early_decision_is_the_one_that_all_answers_would_give(kinds: list[str], seed: int) -> None:
    members = {f"m{i}": float(random.Random(seed + i).randint(1, 3)) for i in range(len(kinds))}
    for policy in (Vote(), Vote(share=0.7), Consensus()):
        box, early = BallotBox(policy, members, 0.7), None
        for member, kind in zip(members, kinds, strict=True):
            if kind in ("accept", "reject"):
                box.cast(member, Ballot(accept=kind == "accept"))
            else:
                box.miss(member, kind, gone=kind == "gone")
            early = early or box.decided()
        last = box.decided()
        assert early is not None
        assert last is not None
        assert early.accepted is last.accepted
