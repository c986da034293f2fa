"""The mail of a driver: many questions in few calls, told messages one by one, nothing kept of an ended loop."""

from __future__ import annotations

import asyncio
from typing import Any

from dspex_agents import CountingIds, ManualClock
from dspex_agents.messaging.message import Envelope, Parcel, Reply
from dspex_agents.messaging.router import Router
from dspex_agents.runtime.outside_mail import OutsideMail
from dspex_agents.runtime.port import Route


class Host:
    """A host that answers every question with its body."""

    address = "host"

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        self.calls.append(method)
        await asyncio.sleep(0)
        if method == "deliver":
            return Reply(args[0].id, args[0].body)
        envelopes = [Envelope._make(fields) for fields in args[1]]
        return Parcel([], [tuple(Reply(one.id, one.body)) for one in envelopes])

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError


class Root(Host):
    address = "root"

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        self.calls.append(method)
        return tuple(Route(self.host, 1) for _ in args[0]) if method == "resolve_many" else Route(self.host, 1)


class Driver:
    def __init__(self) -> None:
        self.host = Host()
        self.root = Root(self.host)
        clock, ids = ManualClock(), CountingIds()
        self.mail = OutsideMail(self.root, clock, ids)
        self.router = Router(self.root, clock, ids, self.mail.carry)

    async def ask(self, count: int) -> list[Any]:
        return await asyncio.gather(*(self.router.ask(f"a{number}", number) for number in range(count)))


def test_a_thousand_questions_asked_at_once_travel_in_a_few_calls() -> None:
    driver = Driver()
    assert asyncio.run(driver.ask(1000)) == list(range(1000))
    assert driver.root.calls == ["resolve_many"]
    assert len(driver.host.calls) < 10


def test_a_lone_question_is_one_call_whose_return_is_the_answer() -> None:
    driver = Driver()
    assert asyncio.run(driver.ask(1)) == [0]
    assert (driver.root.calls, driver.host.calls) == (["resolve"], ["deliver"])


def test_a_told_message_goes_by_a_call_of_its_own() -> None:
    driver = Driver()

    async def tell() -> None:
        await asyncio.gather(*(driver.router.tell("a", number) for number in range(5)))

    asyncio.run(tell())
    assert driver.host.calls == ["deliver"] * 5


def test_what_belongs_to_an_ended_loop_is_forgotten() -> None:
    driver = Driver()
    for _ in range(5):
        asyncio.run(driver.ask(3))
    assert len(driver.mail._desks) == 1
