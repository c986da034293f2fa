"""The dead letter agent: what it keeps, what it sends again, and what it never puts into a database."""

from __future__ import annotations

import asyncio
import json
import pickle
import queue
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents import (
    ChildSpec,
    CountingIds,
    Database,
    ManualClock,
    SupervisorSpec,
    System,
    SystemSpec,
    start_local_system,
)
from dspex_agents.agent import Agent
from dspex_agents.errors import AgentFailedError, SpecError
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter
from dspex_agents.messaging.message import Priority
from dspex_agents.services.dead_letter_agent import FIVE_TIMES_EVERY_FIVE_MINUTES, DeadLetterAgent
from dspex_agents.services.dead_letter_messages import (
    AddDeadLetters,
    GetDeadLetters,
    LetterUnreadableError,
    LostMessage,
    PurgeDeadLetters,
    Redrive,
    RedriveDeadLetters,
)
from dspex_agents.services.json_body import from_json, json_problem, preview, to_json
from dspex_agents.services.letter_book import LetterBook
from dspex_agents.services.retry_policy import RetryPolicy
from dspex_agents.services.service_agent import TickNow
from dspex_agents.testing import LoneHost

Start = Callable[..., System]
NOT_JSON = [("a", "tuple"), {"set": {1}}, {1: "key of a number"}, b"bytes", float("nan")]
STEADY = RetryPolicy(shape="fixed", initial_s=300.0, max_delay_s=300.0, total_s=1e9, max_retries=2, jitter=0.0)


@dataclass(frozen=True)
class Order:
    item: str


class Recipient(Agent):
    """Notes what it gets; fails while `mood` is not empty."""

    def __init__(self, inbox: queue.Queue[Any], mood: list[str]) -> None:
        self._inbox, self._mood = inbox, mood

    async def on_message(self, body: Any) -> None:
        if self._mood:
            raise ValueError(self._mood[0])
        self._inbox.put(body)


@pytest.fixture
def inbox() -> queue.Queue[Any]:
    return queue.Queue()


@pytest.fixture
def mood() -> list[str]:
    return []


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def start(inbox: queue.Queue[Any], mood: list[str], clock: ManualClock) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(**kwargs: Any) -> System:
            kwargs = {"ids": CountingIds(), **kwargs}
            children = (
                ChildSpec(id="letters", start=DeadLetterAgent, kwargs=kwargs, isolation="own"),
                ChildSpec(id="shop", start=Recipient, kwargs={"inbox": inbox, "mood": mood}),
            )
            spec = SystemSpec(name="letters", supervisor=SupervisorSpec(id="top", children=children, intensity=10))
            return stack.enter_context(start_local_system(spec, clock=clock))

        yield begin


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "letters.db"))


def letter(message: Any = "order", to: str = "shop", **fields: Any) -> DeadLetter:
    return DeadLetter(
        **{
            "id": "letter-1",
            "recipient": to,
            "message": message,
            "reason": "MailboxFullError: full",
            "attempts": 1,
            "first_failure_at": 900.0,
            "last_failure_at": 950.0,
            **fields,
        }
    )


def add(system: System, *letters: DeadLetter) -> tuple[str, ...]:
    ids: tuple[str, ...] = system.ask("letters", AddDeadLetters(letters))
    return ids


def kept(system: System, which: DeadLetterFilter = ALL_LETTERS) -> tuple[DeadLetter, ...]:
    found: tuple[DeadLetter, ...] = system.ask("letters", GetDeadLetters(which), control=True)
    return found


def figures(system: System) -> dict[str, int]:
    return dict(system.status("letters").details)


def test_letters_are_kept_under_ids_of_their_own_since_theirs_may_be_anybodys(start: Start) -> None:
    system = start()
    assert add(system, letter("a"), letter(Order("b"))) == ("letter-1", "letter-2")
    assert add(system, letter(("c",), "other")) == ("letter-3",)
    assert [(each.id, each.message, each.recipient) for each in kept(system)] == [
        ("letter-1", "a", "shop"),
        ("letter-2", Order("b"), "shop"),
        ("letter-3", ("c",), "other"),
    ]
    (found,) = kept(system, DeadLetterFilter(recipient="other"))
    assert (found.attempts, found.first_failure_at, found.reason) == (1, 900.0, "MailboxFullError: full")
    assert len(system.ask("letters", GetDeadLetters(limit=2))) == 2


def test_a_letter_sent_again_is_gone_once_its_recipient_has_answered(start: Start, inbox: Any, wait: Any) -> None:
    system = start()
    add(system, letter("a"), letter(Order("b")), letter("c", "other"))
    assert system.ask("letters", RedriveDeadLetters(DeadLetterFilter(recipient="shop"))) == Redrive(2)
    assert {inbox.get(timeout=20), inbox.get(timeout=20)} == {"a", Order("b")}
    wait(lambda: figures(system)["redriven"] == 2, what="both are done")
    assert [each.message for each in kept(system)] == ["c"]


def test_a_letter_that_fails_again_stays_with_its_history(start: Start, mood: list[str], inbox: Any, wait: Any) -> None:
    system = start()
    add(system, letter("a"), letter("b", "nobody"))
    mood.append("sold out")
    system.ask("letters", RedriveDeadLetters())
    wait(lambda: figures(system)["failed"] == 2, what="both have failed")
    a, b = kept(system)
    assert (a.attempts, a.first_failure_at, a.last_failure_at) == (2, 900.0, 1000.0)
    assert "ValueError: sold out" in a.reason
    assert (b.attempts, "UnknownAgentError" in b.reason) == (1, True), "nobody has seen it"
    mood.clear()
    system.ask("letters", RedriveDeadLetters(DeadLetterFilter(recipient="shop")))
    assert inbox.get(timeout=20) == "a", "the answer of the failed try is not given again"


def test_a_letter_is_sent_again_with_its_priority_and_keeps_its_sender(database: Database) -> None:
    async def scene() -> None:
        host = LoneHost(ManualClock())
        for _ in range(2):  # the second life has it from the database
            agent = DeadLetterAgent(database, ids=CountingIds())
            agent.context = host.context("letters")
            await agent.on_start()
            if not len(agent._book):
                await agent.on_message(AddDeadLetters((letter("a", sender="till", priority=2),)))
            await agent.on_message(RedriveDeadLetters())
            async with asyncio.timeout(20):
                while agent.details()["failed"] == 0:  # noqa: ASYNC110 - other tasks take a turn each time
                    await asyncio.sleep(0)
            (found,) = await agent.on_message(GetDeadLetters())
            assert (found.sender, found.priority) == ("till", 2)
            await agent.on_stop("shutdown")
        assert [options["priority"] for to, _, options in host.asked if to == "shop"] == [Priority.LOW] * 2

    asyncio.run(scene())


def test_letters_are_thrown_away_by_filter(start: Start) -> None:
    system = start()
    add(system, letter("a"), letter("b", "other"), letter("c", attempts=5))
    assert system.ask("letters", PurgeDeadLetters(DeadLetterFilter(min_attempts=5))) == 1
    assert system.ask("letters", PurgeDeadLetters()) == 2
    assert (kept(system), figures(system)["purged"]) == ((), 3)


def test_the_oldest_is_dropped_for_a_new_one_and_that_is_counted(start: Start, database: Database) -> None:
    system = start(size=2, database=database)
    add(system, *(letter(n) for n in range(3)))
    add(system, letter(3))
    assert [each.message for each in kept(system)] == [2, 3]
    assert (figures(system)["kept"], figures(system)["dropped"]) == (2, 2)
    system.kill_child("letters")
    assert [each.message for each in kept(system)] == [2, 3]


def test_letters_are_sent_again_by_themselves_a_few_times(
    start: Start, clock: ManualClock, mood: list[str], wait: Any
) -> None:
    system = start(redrive=STEADY)
    add(system, letter("a"))
    mood.append("sold out")
    for n, seconds in ((0, 299.0), (1, 1.0), (1, 299.0), (2, 1.0), (2, 1e6)):
        clock.advance(seconds)
        system.ask("letters", TickNow())
        wait(lambda n=n: figures(system)["failed"] == n, what=f"it has failed {n} times")
        assert figures(system)["under_way"] == 0
    assert (figures(system)["given_up"], figures(system)["kept"]) == (1, 1)
    assert kept(system)[0].attempts == 3


def test_five_times_every_five_minutes_is_what_it_says() -> None:
    policy, rng = FIVE_TIMES_EVERY_FIVE_MINUTES, random.Random(1)
    delays = [policy.next_delay_s(n, 1e9, rng) for n in range(1, 7)]
    assert delays[5] is None
    assert all(delay is not None and 240.0 <= delay <= 360.0 for delay in delays[:5])


# in the database ------------------------------------------------------------------------------------------------------
def test_letters_outlive_the_process_and_can_still_be_sent(
    start: Start, database: Database, inbox: Any, wait: Any
) -> None:
    system = start(database=database, ids=CountingIds())
    body = {"item": "b", "lines": [1, 2.5, None, True]}
    add(system, letter(body), letter("purged"))
    system.ask("letters", PurgeDeadLetters(DeadLetterFilter(ids=frozenset({"letter-2"}))))
    before = kept(system)
    system.kill_child("letters")
    assert kept(system) == before
    system.ask("letters", RedriveDeadLetters())
    assert inbox.get(timeout=20) == body
    wait(lambda: kept(system) == (), what="it is done")
    system.kill_child("letters")
    assert kept(system) == ()


@pytest.mark.parametrize("message", [Order("b"), *NOT_JSON])
def test_what_is_not_json_is_never_in_the_database_and_after_a_restart_only_a_preview(
    start: Start, database: Database, message: Any
) -> None:
    system = start(database=database)
    (id_,) = add(system, letter(message))
    assert repr(kept(system)[0].message) == repr(message)
    with database.read() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM dead_letters")).mappings().all()
    assert row["message"] is None
    assert row["preview"] == repr(message)
    assert not any(isinstance(value, bytes) for value in row.values())
    system.kill_child("letters")
    (lost,) = kept(system)
    assert lost.message == LostMessage(repr(message))
    with pytest.raises(LetterUnreadableError, match=f"Of the message of {id_} only a preview is left") as caught:
        system.ask("letters", RedriveDeadLetters())
    assert caught.value.ids == (id_,)
    assert figures(system)["unreadable"] == 1


def test_of_a_mixture_what_can_be_sent_is_sent_and_the_rest_is_named(
    start: Start, database: Database, inbox: Any
) -> None:
    system = start(database=database)
    lost, _ = add(system, letter(Order("b")), letter("a"))
    system.kill_child("letters")
    assert len(kept(system)) == 2
    assert system.ask("letters", RedriveDeadLetters()) == Redrive(1, (lost,))
    assert inbox.get(timeout=20) == "a"


def test_how_a_letter_fares_is_kept_too(
    start: Start, database: Database, clock: ManualClock, mood: list[str], wait: Any
) -> None:
    system = start(database=database, redrive=STEADY)
    add(system, letter("a"))
    mood.append("sold out")
    clock.advance(300.0)
    system.ask("letters", TickNow())
    wait(lambda: figures(system)["failed"] == 1, what="it has failed")
    before = kept(system)
    system.kill_child("letters")
    assert kept(system) == before
    clock.advance(300.0)
    system.ask("letters", TickNow())
    wait(lambda: kept(system)[0].attempts == 3, what="it was sent a second time")
    assert figures(system)["given_up"] == 1


def test_a_database_with_more_letters_than_there_is_room_for_is_cut_down(database: Database) -> None:
    async def life(size: int, *letters: DeadLetter) -> tuple[list[Any], int]:
        agent = DeadLetterAgent(database, size=size)
        agent.context = LoneHost(ManualClock()).context("letters")
        await agent.on_start()
        await agent.on_message(AddDeadLetters(letters))
        found = await agent.on_message(GetDeadLetters())
        await agent.on_stop("shutdown")
        return [each.message for each in found], agent.details()["dropped"]

    asyncio.run(life(1000, *(letter(n) for n in range(700))))
    assert asyncio.run(life(2)) == ([698, 699], 698)
    assert asyncio.run(life(1000)) == ([698, 699], 0)


# what is kept of a message --------------------------------------------------------------------------------------------
class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("not me")

    def __repr__(self) -> str:
        raise ValueError("nor this")


class ComesBackBroken(Exception):  # noqa: N818 - a message, for once
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Unpicklable(), "Unpicklable (its repr raised ValueError)"),
        (lambda: 1, "<function"),
        (ComesBackBroken(1, 2), "ComesBackBroken(3)"),
        ("x" * 2_000_000, "'xxx"),
        (("y" * 2_000_000,), "('yyy"),
    ],
)
def test_what_cannot_be_kept_leaves_a_preview_at_once(message: Any, text: str) -> None:
    book = LetterBook(10, STEADY, random.Random(1))
    found, _ = book.add(letter(message), "letter-1", 0.0)
    assert not found.is_readable
    assert isinstance(found.message(), LostMessage)
    assert found.message().preview.startswith(text)
    assert len(found.message().preview) <= 200
    assert (book.due(1e9), book.next_at()) == ((), None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(body=JSON)
def test_json_comes_back_as_it_was(body: Any) -> None:
    assert json_problem(body) is None
    copy = from_json(to_json(body))
    assert copy == body
    assert repr(copy) == repr(body), "also whether a number is whole, or true"


def nested(depth: int) -> Any:
    body: Any = None
    for _ in range(depth):
        body = [body]
    return body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (("a",), "message is a tuple, which is not JSON"),
        ({"a": [1, {2}]}, "message['a'][1] is a set, which is not JSON"),
        ({"a": {1: 2}}, "message['a'] has the key 1, which is not text"),
        ([float("inf")], "message[0] is inf, which is not JSON"),
        (nested(101), "message is nested deeper than 100"),
        (Order("b"), "message is a Order, which is not JSON"),
    ],
)
def test_what_is_not_json_is_named_with_its_place(body: Any, told: str) -> None:
    assert json_problem(body) == told
    with pytest.raises(SpecError, match="Only JSON is kept in a database"):
        to_json(body)


def test_depth_is_bounded_where_json_still_is() -> None:
    assert json.loads(to_json(nested(99))) == nested(99)


def test_a_preview_is_one_short_line() -> None:
    assert preview({"a": "line\n" * 3}) == r"{'a': 'line\nline\nline\n'}"
    assert len(preview("x" * 1000)) == 200


# bad input ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("message", "told"),
    [
        (AddDeadLetters(("hello",)), "letters must be DeadLetter, got 'hello'"),  # type: ignore[arg-type]
        (AddDeadLetters((letter(priority=7),)), "priority must be that of a message, 0 to 2, got 7"),
        (GetDeadLetters(limit=0), "limit must be at least 1, got 0"),
        (RedriveDeadLetters(limit=0), "limit must be at least 1, got 0"),
        ("hello", "DeadLetterAgent takes no message of type str"),
    ],
)
def test_a_bad_message_is_named(start: Start, message: Any, told: str) -> None:
    with pytest.raises(AgentFailedError, match=told):
        start().ask("letters", message)


def test_a_bad_setting_is_named() -> None:
    with pytest.raises(SpecError, match="size must be at least 1, got 0"):
        DeadLetterAgent(size=0)
    with pytest.raises(SpecError, match="timeout_s must be a positive number"):
        DeadLetterAgent(timeout_s=0)


def test_the_error_travels_and_names_a_few() -> None:
    error = pickle.loads(pickle.dumps(LetterUnreadableError(tuple(f"letter-{n}" for n in range(9)))))
    assert "letter-0, letter-1, letter-2, letter-3, letter-4 ... only a preview" in str(error)
    assert len(error.ids) == 9
