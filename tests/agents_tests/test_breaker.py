"""The circuit breaker: its table, and a random walk against a reference model."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from dspex_agents.errors import SpecError
from dspex_agents.services.breaker import (
    BreakerOpen,
    BreakerOpenError,
    Breakers,
    BreakerSettings,
    CircuitBreaker,
    Permit,
)

SMALL = BreakerSettings(failure_threshold=2, success_threshold=2, reset_s=10.0)


def leave(breaker: CircuitBreaker, now: float) -> Permit:
    permit = breaker.allow(now)
    assert isinstance(permit, Permit)
    return permit


def walk(breaker: CircuitBreaker, story: str) -> str:
    """Play `f` (call fails), `s` (succeeds), `c` (is cancelled), `w` (10 s pass), `R` (reset); return the states."""
    now, states = 0.0, []
    for step in story:
        if step == "w":
            now += 10.0
        elif step == "R":
            breaker.reset()
        else:
            permit = leave(breaker, now)
            {"f": breaker.failure, "s": breaker.success}[step](permit, now) if step != "c" else breaker.release(permit)
        states.append(breaker.state(now)[0])
    return "".join(states)


@pytest.mark.parametrize(
    ("story", "states"),
    [
        ("f", "c"),
        ("ff", "co"),
        ("fsf", "ccc"),  # in a row, not in all
        ("fcf", "cco"),  # a cancelled call says nothing
        ("ffw", "coh"),
        ("ffwf", "coho"),
        ("ffwss", "cohhc"),
        ("ffwsf", "cohho"),
        ("ffwcss", "cohhhc"),
        ("ffR", "coc"),
        ("ffRf", "cocc"),  # reset forgets the failures
        ("ffwssff", "cohhcco"),
    ],
)
def test_the_state_reported_is_the_state_it_is_in(story: str, states: str) -> None:
    assert walk(CircuitBreaker(SMALL), story) == states


def test_an_open_breaker_says_for_how_long_and_a_half_open_one_lets_one_trial_through_at_a_time() -> None:
    breaker = CircuitBreaker(SMALL)
    walk(breaker, "ff")
    assert breaker.allow(4.0) == BreakerOpen(6.0)
    trial = leave(breaker, 10.0)
    assert [breaker.allow(10.0), breaker.allow(99.0)] == [BreakerOpen(0.0)] * 2
    breaker.success(trial, 99.0)
    assert isinstance(breaker.allow(99.0), Permit)


def test_a_call_begun_before_the_breaker_opened_decides_nothing_when_it_ends() -> None:
    breaker = CircuitBreaker(SMALL)
    slow = [leave(breaker, 0.0) for _ in range(3)]
    walk(breaker, "ff")
    trial = leave(breaker, 10.0)
    breaker.failure(slow[0], 10.0)
    breaker.success(slow[1], 10.0)
    breaker.release(slow[2])
    assert (breaker.state(10.0), breaker.status(10.0).successes) == ("half_open", 0)
    assert breaker.allow(10.0) == BreakerOpen(0.0), "the trial is still under way"
    breaker.success(trial, 10.0)
    breaker.success(trial, 10.0)  # told twice, counted once
    assert breaker.status(10.0).successes == 1


def test_status_tells_the_counts_the_wait_and_how_often_it_opened() -> None:
    breaker = CircuitBreaker(SMALL)
    walk(breaker, "ffwf")
    status = breaker.status(13.0)
    assert (status.state, status.retry_after_s, status.times_opened) == ("open", 7.0, 2)
    assert breaker.status(20.0).retry_after_s == 0.0


@pytest.mark.parametrize("field", ["failure_threshold", "success_threshold", "reset_s"])
def test_a_bad_setting_is_named(field: str) -> None:
    with pytest.raises(SpecError, match=f"breaker.{field} must be"):
        BreakerSettings(**{field: 0})
    with pytest.raises(SpecError, match="reset_s"):
        BreakerSettings(reset_s=float("nan"))


def test_kinds_fail_apart_and_can_be_reset_apart_or_together() -> None:
    breakers = Breakers(SMALL)
    for kind in ("a", "b"):
        walk(breakers.of(kind, 0.0), "ff")
    breakers.of("c", 0.0)
    assert {kind: status.state for kind, status in breakers.status(0.0).items()} == {
        "a": "open",
        "b": "open",
        "c": "closed",
    }
    assert (breakers.reset("a"), breakers.reset("nope")) == (("a",), ())
    assert (breakers.of("a", 0.0).state(0.0), breakers.of("b", 0.0).state(0.0)) == ("closed", "open")
    assert breakers.reset() == ("c", "a", "b")  # longest unused first
    assert breakers.of("b", 0.0).state(0.0) == "closed"


def test_a_new_kind_takes_the_place_of_a_closed_breaker_before_that_of_an_open_one() -> None:
    breakers = Breakers(SMALL, most=2)
    walk(breakers.of("open", 0.0), "ff")
    breakers.of("closed", 0.0)
    breakers.of("new", 0.0)
    assert list(breakers.status(0.0)) == ["open", "new"]
    walk(breakers.of("new", 0.0), "ff")
    breakers.of("newest", 0.0)
    assert list(breakers.status(0.0)) == ["new", "newest"]
    with pytest.raises(SpecError, match="most must be at least 1"):
        Breakers(most=0)


@pytest.mark.parametrize(("wait_s", "told"), [(2.5, "ask again in 2.5 s"), (0.0, "one trial is under way")])
def test_the_error_names_the_kind_and_travels(wait_s: float, told: str) -> None:
    error = pickle.loads(pickle.dumps(BreakerOpenError("api", wait_s)))
    assert (error.kind, error.retry_after_s, error.executed, error.retryable) == ("api", wait_s, False, True)
    assert "'api'" in str(error)
    assert told in str(error)


class AgainstTheModel(RuleBasedStateMachine):
    """The model keeps the whole history since the last change of state, and looks it over at every question."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = CircuitBreaker(SMALL), 0.0
        self.state, self.since, self.outcomes, self.era, self.trial = "closed", 0.0, "", 0, None
        self.eras: dict[Permit, int] = {}

    def enter(self, state: str) -> None:
        self.state, self.since, self.outcomes, self.trial = state, self.now, "", None
        self.era += 1

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.state == "open" and self.now - self.since >= 10.0:
            self.enter("half_open")

    @rule(target=permits)
    def ask(self) -> object:
        allowed = self.state == "closed" or (self.state == "half_open" and self.trial is None)
        answer = self.breaker.allow(self.now)
        assert isinstance(answer, Permit) == allowed
        if not isinstance(answer, Permit):
            assert answer.retry_after_s == (self.since + 10.0 - self.now if self.state == "open" else 0.0)
            return multiple()
        self.eras[answer] = self.era
        if self.state == "half_open":
            self.trial = answer
        return answer

    @rule(permit=consumes(permits), outcome=st.sampled_from("ffsc"))
    def tell(self, permit: Permit, outcome: str) -> None:
        if outcome == "c":
            self.breaker.release(permit)
        else:
            (self.breaker.failure if outcome == "f" else self.breaker.success)(permit, self.now)
        if self.eras[permit] != self.era:
            return
        self.trial = None
        self.outcomes += outcome.replace("c", "")
        if (self.state == "closed" and self.outcomes.endswith("ff")) or (
            self.state == "half_open" and self.outcomes.endswith("f")
        ):
            self.enter("open")
        elif self.state == "half_open" and self.outcomes == "ss":
            self.enter("closed")

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.enter("closed")

    @invariant()
    def the_states_agree(self) -> None:
        assert self.breaker.state(self.now) == self.state


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
