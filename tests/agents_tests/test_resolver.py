"""The resolver: many names in one call to the root, ready ones at once, and every failure to whom it belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dspex_agents.errors import UnknownAgentError
from dspex_agents.messaging.resolver import MOST_IN_A_CALL, Resolver
from dspex_agents.runtime.port import PortDiedError, Route


class Root:
    """A root that knows the places given, and answers a call for many as soon as one of them is known."""

    address = "root"

    def __init__(self, *known: str) -> None:
        self.places: dict[str, Any] = {name: Route(None, 1) for name in known}  # type: ignore[arg-type] # nobody calls it
        self.calls: list[int] = []
        self.changed = asyncio.Event()

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        questions = args[0] if method == "resolve_many" else ((args[0], args[2]),)
        self.calls.append(len(questions))
        async with asyncio.timeout(timeout_s):
            while not (found := [self.places.get(name) for name, _ in questions]) or not any(found):
                self.changed.clear()
                await self.changed.wait()
        if method == "resolve_many":
            return tuple(found)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def put(self, name: str, place: Any) -> None:
        self.places[name] = place
        self.changed.set()

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_those_who_ask_at_once_travel_in_one_call_of_bounded_size() -> None:
    async def scenario() -> None:
        names = [f"a{i}" for i in range(MOST_IN_A_CALL + 500)]
        root = Root(*names)
        resolver = Resolver(root)
        found = await asyncio.gather(*(resolver.resolve(name, 5.0, None) for name in names))
        assert [route.epoch for route in found] == [1] * len(names)
        assert root.calls == [MOST_IN_A_CALL, 500]

    play(scenario)


def test_an_agent_that_is_not_up_yet_keeps_no_other_waiting() -> None:
    async def scenario() -> None:
        root = Root("up")
        resolver = Resolver(root)
        late = asyncio.create_task(resolver.resolve("late", 5.0, None))
        assert (await resolver.resolve("up", 5.0, None)).epoch == 1
        assert not late.done()
        root.put("late", Route(None, 3))  # type: ignore[arg-type] # nobody calls it
        assert (await late).epoch == 3

    play(scenario)


def test_an_unknown_name_fails_for_itself_alone() -> None:
    async def scenario() -> None:
        root = Root("up")
        root.places["typo"] = UnknownAgentError("no such agent")
        resolver = Resolver(root)
        typo, up = await asyncio.gather(
            resolver.resolve("typo", 5.0, None), resolver.resolve("up", 5.0, None), return_exceptions=True
        )
        assert isinstance(typo, UnknownAgentError)
        assert isinstance(up, Route)

    play(scenario)


def test_the_death_of_the_root_reaches_all_who_asked() -> None:
    async def scenario() -> None:
        class Dead(Root):
            async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
                raise PortDiedError

        resolver = Resolver(Dead())
        outcomes = await asyncio.gather(
            *(resolver.resolve(name, 5.0, None) for name in ("a", "b", "a")), return_exceptions=True
        )
        assert [type(one) for one in outcomes] == [PortDiedError] * 3

    play(scenario)


def test_who_asks_with_less_patience_gives_up_alone() -> None:
    async def scenario() -> None:
        root = Root()
        resolver = Resolver(root)
        patient = [asyncio.create_task(resolver.resolve(name, 5.0, None)) for name in ("a", "b")]
        with pytest.raises(TimeoutError):
            await resolver.resolve("c", 0.01, None)
        root.put("a", Route(None, 1))  # type: ignore[arg-type] # nobody calls it
        root.put("b", Route(None, 2))  # type: ignore[arg-type] # nobody calls it
        assert [route.epoch for route in await asyncio.gather(*patient)] == [1, 2]

    play(scenario)


def test_closing_ends_every_question() -> None:
    async def scenario() -> None:
        resolver = Resolver(Root())
        asked = [asyncio.create_task(resolver.resolve(name, 5.0, None)) for name in ("a", "b")]
        await asyncio.sleep(0)
        resolver.close()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)

    play(scenario)
