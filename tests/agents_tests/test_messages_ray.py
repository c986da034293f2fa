"""Messages between processes on a real Ray cluster: streams, many questions at once, and a kill in their midst."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from runtime_contract import spec_of

from dspex_agents import Agent, ChildSpec, System
from dspex_agents.errors import AgentFailedError, MessageError
from dspex_agents.runtime.ray_runtime import start_ray_system

pytestmark = pytest.mark.ray

MANY = 20_000
QUESTIONS = 60


class Counts(Agent):
    """Counts what it gets, and whether it came in order."""

    concurrency = 100

    def __init__(self) -> None:
        self.count, self.last, self.is_ordered, self.gate = 0, -1, True, asyncio.Event()

    async def on_message(self, body: Any) -> Any:
        match body:
            case int():
                self.count += 1
                self.is_ordered = self.is_ordered and body > self.last
                self.last = body
            case "wait":
                await self.gate.wait()
            case "lock":
                return threading.Lock()
        return body

    async def on_control(self, body: Any) -> Any:
        if body == "open":
            self.gate.set()
        return self.count, self.last, self.is_ordered, os.getpid()


class Sends(Agent):
    """Tells a range of numbers, or asks many questions at once and answers with how they ended."""

    concurrency = 10

    async def on_message(self, body: Any) -> Any:
        match body:
            case ("tell", to, first, count):
                for number in range(first, first + count):
                    await self.context.tell(to, number)
                return count
            case ("ask", to, questions, options):
                return Counter(await asyncio.gather(*(self._outcome(to, q, options) for q in questions)))
            case _:
                return await super().on_message(body)

    async def _outcome(self, to: str, question: Any, options: dict[str, Any]) -> str:
        try:
            return str(await self.context.ask(to, question, timeout_s=30.0, **options))
        except AgentFailedError as error:
            return f"{type(error).__name__}, cannot travel: {'cannot travel' in str(error)}"
        except MessageError as error:
            return type(error).__name__


def two_hosts(**fields: Any) -> System:
    children = (
        ChildSpec(id="sender", start=Sends),
        ChildSpec(id="far", start=Counts, isolation="own"),
        ChildSpec(id="mate", start=Counts, host="other"),
        ChildSpec(id="slow", start=Counts, host="other"),
    )
    return start_ray_system(spec_of(*children, **fields))


def in_thread(system: System, body: Any) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(system.ask("sender", body, timeout_s=60.0)))
    thread.start()
    return thread, answers


def seen(system: System, name: str) -> Any:
    return system.ask(name, "seen", control=True)


@pytest.mark.usefixtures("ray_cluster")
def test_streams_questions_and_what_cannot_travel_between_two_processes(wait: Callable[..., None]) -> None:
    with two_hosts() as system:
        assert system.ask("sender", ("tell", "far", 0, MANY), timeout_s=60.0) == MANY
        wait(lambda: seen(system, "far")[0] == MANY, what="the end of the stream")
        assert seen(system, "far")[:3] == (MANY, MANY - 1, True)
        assert system.dead_letters() == ()

        slow, _ = in_thread(system, ("ask", "slow", ["wait"] * QUESTIONS, {}))
        wait(lambda: system.status("slow").in_flight == QUESTIONS, what="the slow questions")
        answers = system.ask("sender", ("ask", "mate", list(range(1000)), {}), timeout_s=20.0)
        assert answers == Counter(map(str, range(1000)))  # a slow agent holds up none of its host-mate's answers
        assert slow.is_alive()
        system.ask("slow", "open", control=True)
        slow.join(30)

        mixed = system.ask("sender", ("ask", "mate", ["a", "lock"] * 20, {}), timeout_s=20.0)
        assert mixed == {"a": 20, "AgentFailedError, cannot travel: True": 20}


@pytest.mark.chaos
@pytest.mark.usefixtures("ray_cluster")
def test_a_kill_answers_every_question_and_loses_no_told_message_in_silence(wait: Callable[..., None]) -> None:
    with two_hosts(spare_hosts=1) as system:
        plain, unknown = in_thread(system, ("ask", "far", ["wait"] * QUESTIONS, {}))
        wait(lambda: system.status("far").in_flight == QUESTIONS, what="the plain questions")
        safe, answered = in_thread(system, ("ask", "far", ["wait"] * (QUESTIONS // 2), {"retry_safe": True}))
        wait(lambda: system.status("far").in_flight == QUESTIONS * 3 // 2, what="the repeatable questions")
        os.kill(seen(system, "far")[3], signal.SIGKILL)
        plain.join(30)
        assert unknown == [{"OutcomeUnknownError": QUESTIONS}]
        wait(lambda: system.status("far").in_flight == QUESTIONS // 2, what="the repeated questions")
        system.ask("far", "open", control=True)
        safe.join(30)
        assert answered == [{"wait": QUESTIONS // 2}]

        stream, _ = in_thread(system, ("tell", "far", 0, 100_000))
        wait(lambda: seen(system, "far")[0] > 0, what="the start of the stream")
        os.kill(seen(system, "far")[3], signal.SIGKILL)
        stream.join(60)
        wait(lambda: seen(system, "far")[1] == 99_999, what="the end of the stream at the next incarnation")
        count, _, is_ordered, _ = seen(system, "far")
        assert is_ordered
        letters = [letter.message for letter in system.dead_letters()]
        assert letters
        assert max(letters) < 100_000 - count  # all that the dead one had not begun with, and nothing else
        assert letters == sorted(set(letters))
