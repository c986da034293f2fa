"""What a plan may say of its work besides: whom to avoid, how often to try, its share, and that it wants a visit."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from coordinated import started
from team_agents import Named

from dspex_agents import RunPlan
from dspex_agents.errors import SpecError
from dspex_agents.roles.plan import Outcome, Revisited, Work
from dspex_agents.teamwork.member_pool import MemberPool
from dspex_agents.teamwork.team import WorkSettings


def pool_of(*names: str, room: int = 1) -> MemberPool:
    pool = MemberPool(WorkSettings(room=room), random.Random(0))
    pool.set_names(names)
    return pool


def test_members_to_avoid_are_chosen_only_when_there_is_no_other() -> None:
    pool = pool_of("a", "b")
    lease = pool.take(Work("1", None, avoid=frozenset({"a"})), 0.0)
    assert lease is not None
    assert lease.name == "b"
    assert pool.take(Work("2", None, avoid=frozenset({"a"})), 0.0) is None  # it waits for "b", although "a" has room
    last = pool.take(Work("3", None, avoid=frozenset({"a", "b"})), 0.0)
    assert last is not None
    assert last.name == "a"


class OneUnit:
    """A plan of one unit, offered at the third visit."""

    def __init__(self, **options: Any) -> None:
        self.work = Work("only", 7, **options)
        self.visits = 0
        self.outcomes: list[Outcome] = []

    def open(self) -> None:
        return

    def revisit(self, now: float) -> float:
        self.visits += 1
        return 0.02

    def pull(self, limit: int, now: float) -> Sequence[Work]:
        return [self.work] if self.visits == 3 else []

    def push(self, outcomes: Sequence[Outcome], now: float) -> None:
        self.outcomes += outcomes

    def finished(self) -> bool:
        return bool(self.outcomes)

    def result(self) -> Any:
        return self.outcomes[0]

    def progress(self) -> Mapping[str, Any]:
        return {}

    def cancel(self, reason: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        return


def test_a_plan_that_wants_visits_gets_them_though_nothing_happens() -> None:
    assert isinstance(OneUnit(), Revisited)
    begun = time.monotonic()
    with started(Named) as system:
        outcome = system.ask("coord", RunPlan("r", OneUnit), timeout_s=10.0)
    assert outcome.error is None
    assert time.monotonic() - begun > 0.04


def test_a_unit_that_is_tried_once_comes_back_after_the_first_loss() -> None:
    Named.failing, Named.asked = {"w1", "w2"}, []
    try:
        with started(Named) as system:
            outcome = system.ask("coord", RunPlan("r", OneUnit, {"attempts": 1}), timeout_s=10.0)
    finally:
        Named.failing = set()
    assert outcome.error.kind == "infrastructure"
    assert Named.asked == [outcome.worker]


def test_a_share_below_one_is_refused() -> None:
    with pytest.raises(SpecError, match="share of run 'r' must be at least 1, got 0"):
        RunPlan("r", OneUnit, share=0)
