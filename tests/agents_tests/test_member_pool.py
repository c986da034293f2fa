"""Choosing who does a unit of work: capabilities, real load, affinity, and members that keep failing."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents import BreakerSettings, SpecError, Work
from dspex_agents.supervision.registry import Query, Registration
from dspex_agents.teamwork.member_pool import Changes, MemberPool, NoCapableMemberError
from dspex_agents.teamwork.team import Team, WorkSettings

ANY = Work("1", None)
SQL = Work("1", None, needs=frozenset({"sql"}))


def pool_of(*names: str, seed: int = 0, **settings: Any) -> MemberPool:
    pool = MemberPool(WorkSettings(**settings), random.Random(seed))
    pool.set_names(names)
    return pool


def registered(name: str, *capabilities: str, **fields: Any) -> Registration:
    return Registration(name, 1, frozenset(capabilities), **fields)


def taken(pool: MemberPool, work: Work = ANY, **options: Any) -> str | None:
    lease = pool.take(work, 0.0, **options)
    return None if lease is None else lease.name


def load_up(pool: MemberPool, name: str, count: int) -> None:
    for _ in range(count):
        pool._members[name].in_flight += 1


class TestCapabilities:
    def test_a_member_needs_all_capabilities_that_are_asked_for(self) -> None:
        pool = pool_of()
        pool.update(Team(("a", "b")), [registered("a", "sql"), registered("b", "sql", "python")])
        both = Work("1", None, needs=frozenset({"sql", "python"}))
        assert {taken(pool, both, room=False) for _ in range(5)} == {"b"}
        assert {taken(pool, SQL, room=False) for _ in range(12)} == {"a", "b"}

    def test_a_member_of_unknown_capabilities_does_only_what_needs_none(self) -> None:
        pool = pool_of("a")
        assert taken(pool) == "a"
        assert taken(pool, SQL) is None

    def test_the_error_says_what_was_needed_and_what_each_member_has(self) -> None:
        pool = pool_of()
        pool.update(Team(("a", "b")), [registered("a", "sql"), registered("b")])
        error = pickle.loads(pickle.dumps(pool.shortage(frozenset({"gpu", "sql"}))))
        assert isinstance(error, NoCapableMemberError)
        assert str(error) == "No member of the team can do all of gpu, sql. 'a' has sql; 'b' has none."
        assert str(MemberPool(WorkSettings(), random.Random(0)).shortage(frozenset())) == (
            "No member of the team can do the work. The team is empty."
        )

    def test_capabilities_that_change_count_from_then_on(self) -> None:
        pool = pool_of()
        pool.update(Team(("a",)), [registered("a", "sql")])
        assert pool.is_capable(SQL.needs)
        pool.update(Team(("a",)), [registered("a", "python")])
        assert not pool.is_capable(SQL.needs)


class TestComingAndGoing:
    def test_whoever_fits_the_query_is_in_and_whoever_does_not_any_more_is_out(self) -> None:
        pool, team = pool_of(), Team(query=Query(capabilities=frozenset({"sql"})))
        assert pool.update(team, [registered("a", "sql"), registered("b", "sql")]) == Changes(("a", "b"), ())
        assert pool.update(team, [registered("b", "sql"), registered("c", "sql")]) == Changes(("c",), ("a",))
        assert pool.names() == ("b", "c")

    def test_a_named_member_that_is_being_restarted_is_avoided_and_comes_back(self) -> None:
        pool, team = pool_of(), Team(("a", "b"))
        everyone = [registered("a"), registered("b")]
        pool.update(team, everyone)
        pool.update(team, everyone[1:])
        assert pool.unknown() == {"a": True}
        assert pool.figures(0.0)["a"].state == "absent"
        assert {taken(pool, room=False) for _ in range(4)} == {"b"}
        pool.update(team, everyone)
        assert {taken(pool, room=False) for _ in range(8)} == {"a", "b"}

    def test_a_team_of_which_all_are_being_restarted_goes_on_being_asked(self) -> None:
        pool, team = pool_of(), Team(("a",))
        pool.update(team, [registered("a")])
        pool.update(team, [])
        assert taken(pool) == "a"

    def test_a_named_member_that_is_still_to_come_may_be_asked(self) -> None:
        pool = pool_of("a")
        pool.update(Team(("a",)), [])
        assert pool.unknown() == {"a": False}
        assert taken(pool) == "a"

    def test_an_unhealthy_member_is_chosen_only_when_there_is_no_other(self) -> None:
        pool, team = pool_of(), Team(("a", "b"))
        pool.update(team, [registered("a", health="unhealthy"), registered("b")])
        assert {taken(pool, room=False) for _ in range(4)} == {"b"}

    def test_a_named_member_that_is_gone_for_good_stays_out_until_the_registry_knows_it_again(self) -> None:
        pool, team = pool_of("a", "b"), Team(("a", "b"))
        pool.drop("a", for_good=True)
        pool.update(team, [registered("b")])
        assert pool.names() == ("b",)
        pool.update(team, [registered("a"), registered("b")])
        assert pool.names() == ("b", "a")

    def test_giving_back_what_a_dropped_member_had_in_hand_harms_nothing(self) -> None:
        pool = pool_of("a", "b")
        lease = pool.take(ANY, 0.0)
        pool.drop(lease.name)
        pool.give_back(lease, "done", 0.0)
        assert pool.free_slots() == 2


class TestLoad:
    def test_the_least_loaded_member_is_chosen_and_of_equals_the_one_idle_for_longest(self) -> None:
        pool = pool_of("a", "b", "c")
        load_up(pool, "a", 1)
        assert [taken(pool), taken(pool)] == ["b", "c"]
        assert taken(pool) == "a"

    def test_what_the_registry_knows_of_the_load_counts_too(self) -> None:
        pool = pool_of()
        pool.update(Team(("a", "b")), [registered("a", load=3.0), registered("b", load=0.5)])
        assert taken(pool) == "b"

    def test_a_full_member_is_left_alone_and_when_all_are_full_nobody_is_chosen(self) -> None:
        pool = pool_of("a", "b", room=1)
        assert {taken(pool), taken(pool)} == {"a", "b"}
        assert taken(pool) is None
        assert (pool.slots(), pool.free_slots()) == (2, 0)

    @pytest.mark.parametrize("balance", ["least_loaded", "round_robin", "random"])
    def test_the_load_falls_again_when_units_come_back(self, balance: Any) -> None:
        pool = pool_of("a", "b", room=3, balance=balance)
        leases = [pool.take(ANY, 0.0) for _ in range(6)]
        assert pool.take(ANY, 0.0) is None
        for lease in leases:
            pool.give_back(lease, "done", 0.0)
        assert pool.free_slots() == 6
        assert {f.in_flight for f in pool.figures(0.0).values()} == {0}
        assert sum(f.units for f in pool.figures(0.0).values()) == 6

    def test_round_robin_goes_round_whatever_the_load(self) -> None:
        pool = pool_of("a", "b", "c", balance="round_robin", room=9)
        load_up(pool, "b", 5)
        assert [taken(pool) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]

    def test_random_choices_follow_from_the_seed_and_meet_everybody(self) -> None:
        def chosen(seed: int) -> list[str | None]:
            pool = pool_of("a", "b", "c", balance="random", seed=seed)
            return [taken(pool, room=False) for _ in range(40)]

        assert chosen(1) == chosen(1) != chosen(2)
        assert set(chosen(1)) == {"a", "b", "c"}

    @given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 4))
    def test_no_member_is_ever_over_its_room_and_counts_never_drift(self, steps: list[int], room: int) -> None:
        pool, held = pool_of("a", "b", "c", room=room), []
        for step in steps:
            if step and (lease := pool.take(ANY, 0.0)) is not None:
                held.append(lease)
            elif held:
                pool.give_back(held.pop(0), "done", 0.0)
            in_flight = {name: f.in_flight for name, f in pool.figures(0.0).items()}
            assert in_flight == {name: Counter(lease.name for lease in held)[name] for name in in_flight}
            assert max(in_flight.values()) <= room
            assert max(in_flight.values()) - min(in_flight.values()) <= room


class TestAffinity:
    def test_affinity_gives_way_when_its_member_is_full(self) -> None:
        work = Work("1", None, affinity="row 1")
        pool = pool_of("a", "b", "c")
        own = taken(pool, work)
        assert taken(pool, work) == own
        assert taken(pool, work) != own

    @given(st.sets(st.text("abcdefgh", min_size=1), min_size=2), st.text(min_size=1))
    def test_a_member_that_leaves_moves_only_its_own_work(self, members: set[str], affinity: str) -> None:
        work, gone = Work("1", None, affinity=affinity), min(members)
        before = taken(pool_of(*sorted(members)), work)
        after = taken(pool_of(*sorted(members - {gone})), work)
        assert before in (after, gone)

    def test_a_remembered_affinity_is_forgotten_when_the_team_changes(self) -> None:
        pool = pool_of("a", "b")
        works = [Work(str(n), None, affinity=str(n)) for n in range(50)]
        before = {w.id: taken(pool, w, room=False) for w in works}
        pool.set_names(["c"])
        after = {w.id: taken(pool, w, room=False) for w in works}
        assert after == {w.id: taken(pool_of("a", "b", "c"), w) for w in works}
        assert {before[id_] for id_ in before if after[id_] != "c"} == {"a", "b"}


class TestTrouble:
    def failing(self, pool: MemberPool, name: str, times: int, now: float = 0.0) -> None:
        for _ in range(times):
            lease = pool.take(ANY, now, avoid=next(n for n in pool.names() if n != name), room=False)
            assert lease.name == name
            pool.give_back(lease, "failed", now)

    def test_a_member_to_be_avoided_is_chosen_only_when_it_is_the_only_one(self) -> None:
        pool = pool_of("a", "b")
        load_up(pool, "b", 9)
        assert taken(pool, avoid="a", room=False) == "b"
        assert taken(pool_of("a"), avoid="a") == "a"

    def test_a_member_that_keeps_failing_is_avoided_for_a_while_and_comes_back(self) -> None:
        breaker = BreakerSettings(failure_threshold=3, success_threshold=1, reset_s=10.0)
        pool = pool_of("a", "b", breaker=breaker, room=9)
        self.failing(pool, "a", 3)
        assert pool.figures(0.0)["a"].state == "open"
        assert {pool.take(ANY, 9.0).name for _ in range(5)} == {"b"}
        trial = pool.take(Work("1", None), 11.0)
        assert trial.name == "a"
        assert {pool.take(ANY, 11.0).name for _ in range(3)} == {"b"}  # one trial at a time
        pool.give_back(trial, "done", 11.0)
        assert pool.figures(11.0)["a"].state == "closed"

    def test_a_full_member_is_waited_for_rather_than_a_failing_one_asked(self) -> None:
        pool = pool_of("a", "b", breaker=BreakerSettings(failure_threshold=1), room=1)
        self.failing(pool, "a", 1)
        assert taken(pool) == "b"
        assert taken(pool) is None

    def test_a_team_of_which_all_keep_failing_goes_on_being_asked(self) -> None:
        pool = pool_of("a", "b", breaker=BreakerSettings(failure_threshold=1))
        self.failing(pool, "a", 1)
        pool.give_back(pool.take(ANY, 0.0), "failed", 0.0)
        assert {f.state for f in pool.figures(0.0).values()} == {"open"}
        assert {taken(pool), taken(pool)} == {"a", "b"}

    def test_what_a_cancelled_unit_says_of_its_member_is_nothing(self) -> None:
        pool = pool_of("a", breaker=BreakerSettings(failure_threshold=1))
        pool.give_back(pool.take(ANY, 0.0), "unknown", 0.0)
        assert (pool.figures(0.0)["a"].failures, pool.figures(0.0)["a"].state) == (0, "closed")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("room", 0, "work.room must be at least 1, got 0"),
        ("attempts", 0, "work.attempts must be at least 1"),
        ("timeout_s", -1.0, "work.timeout_s must be a number of seconds above 0, got -1.0"),
        ("stall_s", float("nan"), "work.stall_s must be a number of seconds above 0"),
        ("balance", "fair", "work.balance must be one of 'least_loaded', 'round_robin', 'random', got 'fair'"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(field: str, value: Any, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        WorkSettings(**{field: value})
