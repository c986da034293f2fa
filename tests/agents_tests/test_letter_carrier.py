"""Dead letters leave their host for the `DeadLetterAgent` of the system, and outlive the host's process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sample_agents import Echo, Squarer

from dspex_agents import Agent, ChildSpec, CountingIds, Database, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.errors import AgentFailedError, AgentStoppedError, OutcomeUnknownError, SpecError, SystemStoppedError
from dspex_agents.messaging.dead_letters import DeadLetter, DeadLetters
from dspex_agents.runtime.letter_carrier import LetterCarrier
from dspex_agents.services.dead_letter_agent import DeadLetterAgent
from dspex_agents.services.dead_letter_messages import AddDeadLetters, GetDeadLetters

_LIMIT_S = 10.0


class Keeper:
    """Stands in for the agent: takes letters, or fails as the script says."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.batches: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def kept(self) -> list[Any]:
        return [message for batch in self.batches for message in batch]

    async def ask(self, to: str, body: Any, **_: Any) -> None:
        assert to == "letters"
        assert isinstance(body, AddDeadLetters)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.take(body.letters)

    def take(self, letters: tuple[DeadLetter, ...]) -> None:
        self.batches.append([letter.message for letter in letters])


class Picky(Keeper):
    """Refuses any batch with the letter "bad" in it."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def take(self, letters: tuple[DeadLetter, ...]) -> None:
        if any(letter.message == "bad" for letter in letters):
            self.refused += 1
            raise AgentFailedError("The message cannot travel", "PicklingError")
        super().take(letters)


def carried(keeper: Keeper, scenario: Callable[[DeadLetters, LetterCarrier], Awaitable[None]], *there: Any) -> None:
    """Run the scenario on letters, with those in `there` from before the carrier began."""

    async def run() -> None:
        letters = DeadLetters(CountingIds())
        for message in there:
            add(letters, message)
        carrier = LetterCarrier(letters, "letters", keeper.ask)
        carrier.start()
        try:
            async with asyncio.timeout(_LIMIT_S):
                await scenario(letters, carrier)
        finally:
            carrier.cancel()

    asyncio.run(run())


def add(letters: DeadLetters, message: Any, to: str = "shop", sender: str = "") -> None:
    letters.add(to, message, "UnknownAgentError: nobody", 1.0, sender=sender)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is in the code under test and tells nobody
        await asyncio.sleep(0.001)


def test_letters_go_in_bounded_batches_and_leave_only_when_they_were_taken() -> None:
    keeper = Keeper()

    async def scenario(letters: DeadLetters, _: LetterCarrier) -> None:
        keeper.gate.clear()
        for n in range(120):
            add(letters, n)
        await asyncio.sleep(0)
        assert len(letters) == 120
        keeper.gate.set()
        await until(lambda: len(letters) == 0)
        assert keeper.kept == list(range(120))
        assert [len(batch) for batch in keeper.batches] == [50, 50, 20]
        add(letters, "later")
        await until(lambda: keeper.batches[-1] == ["later"])

    carried(keeper, scenario)


@pytest.mark.parametrize(
    "failure",
    [
        AgentStoppedError("it is being restarted"),
        OutcomeUnknownError("it died with them"),
        SystemStoppedError("it is not running"),
        AgentFailedError("failed", "StoreError", "locked"),
    ],
)
def test_what_was_not_surely_taken_stays_and_is_offered_again(failure: Exception) -> None:
    keeper = Keeper(failure, failure)

    async def scenario(letters: DeadLetters, _: LetterCarrier) -> None:
        await until(lambda: len(keeper.failures) == 1)
        assert len(letters) == 2
        await until(lambda: len(letters) == 0)
        assert keeper.batches == [["a", "b"]]

    carried(keeper, scenario, "a", "b")


def test_letters_to_and_from_the_keeper_itself_stay_so_that_none_goes_round_in_a_circle() -> None:
    keeper = Keeper()

    async def scenario(letters: DeadLetters, carrier: LetterCarrier) -> None:
        add(letters, "to", to="letters")
        add(letters, "from", sender="letters")
        add(letters, "other", sender="shop")
        await carrier.close(_LIMIT_S)
        assert keeper.batches == [["other"]]
        assert [letter.message for letter in letters.entries()] == ["to", "from"]

    carried(keeper, scenario)


def test_a_letter_that_cannot_travel_stays_alone_and_is_not_offered_again() -> None:
    keeper = Picky()

    async def scenario(letters: DeadLetters, carrier: LetterCarrier) -> None:
        await until(lambda: len(letters) == 1)
        refused = keeper.refused
        add(letters, "next")
        await carrier.close(_LIMIT_S)
        assert sorted(keeper.kept) == ["a", "b", "c", "d", "next"]
        assert keeper.refused == refused
        assert [letter.message for letter in letters.entries()] == ["bad"]

    carried(keeper, scenario, "a", "b", "bad", "c", "d")


def test_closing_brings_away_what_is_there_and_waits_no_longer_than_it_may() -> None:
    keeper = Keeper()

    async def scenario(letters: DeadLetters, carrier: LetterCarrier) -> None:
        await carrier.close(_LIMIT_S)
        assert (keeper.kept, len(letters)) == (["a"], 0)

    carried(keeper, scenario, "a")
    keeper.gate = asyncio.Event()

    async def stuck(letters: DeadLetters, carrier: LetterCarrier) -> None:
        await carrier.close(0.05)
        assert len(letters) == 1

    carried(keeper, stuck, "b")


def test_closing_does_not_wait_for_a_keeper_that_is_gone() -> None:
    keeper = Keeper(*[SystemStoppedError("the system stopped")] * 100)

    async def scenario(letters: DeadLetters, carrier: LetterCarrier) -> None:
        await until(lambda: len(keeper.failures) < 98)  # in the pause before it asks again
        await carrier.close(3600.0)
        assert len(letters) == 1

    carried(keeper, scenario, "a")


# in a system ----------------------------------------------------------------------------------------------------
class Teller(Agent):
    """Tells (name, message) on; knows its process."""

    async def on_message(self, body: Any) -> int:
        if body != "pid":
            await self.context.tell(*body)
        return os.getpid()


def spec(*children: ChildSpec, keeper: ChildSpec | None = None, **fields: Any) -> SystemSpec:
    keeper = keeper or ChildSpec(id="letters", start=DeadLetterAgent, isolation="own")
    tree = SupervisorSpec(id="top", children=(keeper, *children), intensity=10)
    return SystemSpec(**{"name": "carried", "supervisor": tree, "dead_letters": "letters", **fields})


def listed(system: System) -> list[tuple[str, Any]]:
    found: tuple[DeadLetter, ...] = system.ask("letters", GetDeadLetters(), retry_safe=True)
    return [(letter.recipient, letter.message) for letter in found]


def test_letters_of_every_host_come_to_the_agent_and_none_is_left_behind(wait: Callable[..., None]) -> None:
    front = ChildSpec(id="front", start=Teller, isolation="own")
    with start_local_system(spec(front, ChildSpec(id="back", start=Teller))) as system:
        system.ask("front", ("nobody", {"order": 1}))
        system.ask("back", ("nobody", {"order": 2}))
        wait(lambda: len(listed(system)) == 2, what="two letters at the agent")
        assert {message["order"] for _, message in listed(system)} == {1, 2}
        wait(lambda: system.tree().dead_letters == 0, what="no letter in a host")


def test_without_a_name_letters_stay_in_their_host(wait: Callable[..., None]) -> None:
    with start_local_system(spec(ChildSpec(id="front", start=Teller), dead_letters=None)) as system:
        system.ask("front", ("nobody", "hello"))
        wait(lambda: system.tree().dead_letters == 1, what="the letter in the host")
        assert listed(system) == []


class Sulky(DeadLetterAgent):
    """Cannot start while the file is there."""

    def __init__(self, mood: Path, **options: Any) -> None:
        super().__init__(**options)
        self._mood = mood

    async def on_start(self) -> None:
        if self._mood.exists():
            raise RuntimeError("not today")
        await super().on_start()


def test_letters_wait_for_an_agent_that_is_being_restarted(tmp_path: Path, wait: Callable[..., None]) -> None:
    kwargs = {"mood": tmp_path / "sulks", "database": Database(str(tmp_path / "letters.db"))}
    keeper = ChildSpec(id="letters", start=Sulky, kwargs=kwargs, isolation="own")
    with start_local_system(spec(ChildSpec(id="front", start=Teller), keeper=keeper)) as system:
        system.ask("front", ("nobody", "before"))
        wait(lambda: len(listed(system)) == 1, what="the first letter at the agent")
        wait(lambda: system.tree().dead_letters == 0, what="the news of that at the host, which would offer it again")
        kwargs["mood"].touch()
        system.kill_child("letters")
        system.ask("front", ("nobody", "meanwhile"))
        wait(lambda: system.tree().dead_letters == 1, what="the letter in the host")
        kwargs["mood"].unlink()
        wait(lambda: listed(system) == [("nobody", "before"), ("nobody", "meanwhile")], what="both at the agent")


class Gated(DeadLetterAgent):
    """Takes letters only when the gate is open."""

    def __init__(self, gate: asyncio.Event) -> None:
        super().__init__()
        self._gate = gate

    async def serve(self, body: Any) -> Any:
        if isinstance(body, AddDeadLetters):
            await self._gate.wait()
        return await super().serve(body)


class Leaving(Teller):
    """Opens the gate a while after it was stopped."""

    def __init__(self, gate: asyncio.Event) -> None:
        self._gate = gate

    async def on_stop(self, reason: str) -> None:
        asyncio.get_running_loop().call_later(0.1, self._gate.set)


def test_a_host_that_is_shut_down_hands_its_last_letters_on(wait: Callable[..., None]) -> None:
    gate = asyncio.Event()
    keeper = ChildSpec(id="letters", start=Gated, kwargs={"gate": gate}, isolation="own")
    front = ChildSpec(id="front", start=Leaving, kwargs={"gate": gate}, isolation="own")
    with start_local_system(spec(front, keeper=keeper)) as system:
        system.ask("front", ("nobody", "first"))
        wait(lambda: system.status("letters").in_flight == 1, what="the first letter on its way")
        system.ask("front", ("nobody", "second"))
        wait(lambda: system.tree().dead_letters == 2, what="the second letter behind it")
        assert system.stop_child("front")
        wait(lambda: listed(system) == [("nobody", "first"), ("nobody", "second")], what="both letters at the agent")


def test_a_message_that_the_agent_itself_did_not_get_stays_where_it_was_told(wait: Callable[..., None]) -> None:
    keeper = ChildSpec(id="letters", start=Echo, kwargs={"mailbox_size": 1}, isolation="own")
    with start_local_system(spec(ChildSpec(id="front", start=Teller), keeper=keeper)) as system:
        system.pause("letters")
        for n in range(3):
            system.ask("front", ("letters", n))
        wait(lambda: system.tree().dead_letters == 2, what="two letters in the host")
        system.resume("letters")
        wait(lambda: system.status("letters").handled == 1, what="the one that was taken")
        system.ask("front", ("nobody", "other"))
        wait(lambda: len(system.ask("letters", "seen")) == 2, what="the other letter at the agent")
        assert [letter.recipient for letter in system.dead_letters()] == ["letters", "letters"]


def test_previews_show_messages_that_cannot_even_be_looked_at(wait: Callable[..., None]) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise ValueError("do not look")

    with start_local_system(spec(ChildSpec(id="front", start=Teller), dead_letters=None)) as system:
        for message in (Shy(), type("list", (), {})(), "x" * 1000, 7):
            system.ask("front", ("nobody", message))
        wait(lambda: system.tree().dead_letters == 4, what="four letters in the host")
        shy, false, long, seven = (letter.message for letter in system.letter_previews())
        assert shy.startswith("<Shy instance")
        assert (false, len(long), seven) == ("<list>", 120, "7")
        assert [letter.message for letter in system.letter_previews(limit=1)] == [shy]


def test_the_agent_for_dead_letters_must_be_in_the_tree() -> None:
    with pytest.raises(SpecError, match=r"dead_letters must be one of its agents \(letters\), got 'leters'"):
        spec(dead_letters="leters")


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("ray_cluster")
def test_a_letter_outlives_the_process_of_its_host(wait: Callable[..., None]) -> None:
    from dspex_agents.runtime.ray_runtime import start_ray_system  # noqa: PLC0415 - loads ray

    front = ChildSpec(id="front", start=Teller, isolation="own")
    with start_ray_system(spec(front)) as system:
        pid = system.ask("front", ("nobody", Squarer()))
        wait(lambda: len(listed(system)) == 1, what="the letter at the agent")
        os.kill(pid, signal.SIGKILL)
        assert system.ask("front", "pid", retry_safe=True) != pid
        ((recipient, message),) = listed(system)
        assert (recipient, type(message)) == ("nobody", Squarer)
        assert system.dead_letters() == ()
