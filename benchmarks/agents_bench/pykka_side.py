"""pykka, the peer with a thread for each actor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pykka
from harness import resident_bytes

from agents_bench.side import Figures, Measure

BODY = {"message": "hello"}


class Receiver(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


class Sender(pykka.ThreadingActor):
    """Sends to the receiver and answers with the rate."""

    def __init__(self, to: pykka.ActorRef[Receiver]) -> None:
        super().__init__()
        self._to = to

    def on_receive(self, message: Any) -> float:
        how, count = message
        started = time.perf_counter()
        if how == "ask":
            for _ in range(count):
                self._to.ask(BODY)
        else:
            for _ in range(count - 1):
                self._to.tell(BODY)
            self._to.ask(BODY)  # the inbox is a queue: when this one is answered, all are handled
        return count / (time.perf_counter() - started)


def rate_of(sender: pykka.ActorRef[Sender], how: str) -> Measure:
    def measure(count: int) -> Figures:
        rate: float = sender.ask((how, count))
        return {"rate": rate}

    return measure


def crowd(count: int) -> Figures:
    """Start actors, let each answer once, and measure the memory of one."""
    pid, before, started = os.getpid(), resident_bytes(os.getpid()), time.perf_counter()
    actors = [Receiver.start() for _ in range(count)]
    up = time.perf_counter()
    answers = [actor.ask(BODY, block=False) for actor in actors]
    assert all(answer.get(timeout=60) == BODY for answer in answers)
    answered, grown = time.perf_counter(), resident_bytes(pid) - before
    for stopping in [actor.stop(block=False) for actor in actors]:
        stopping.get(timeout=60)
    return {"bytes": grown / count, "start_s": up - started, "answer_s": answered - up}


@contextmanager
def open_measures() -> Iterator[Mapping[str, Measure]]:
    receiver = Receiver.start()
    sender = Sender.start(receiver)
    try:
        yield {"ask": rate_of(sender, "ask"), "tell": rate_of(sender, "tell"), "crowd": crowd}
    finally:
        pykka.ActorRegistry.stop_all()
