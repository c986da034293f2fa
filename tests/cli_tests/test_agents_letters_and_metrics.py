"""`dspex agents dead-letters` and `metrics`, on systems of this process."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from agents_cli import Said, Teller, refused, run_agents, shop
from prometheus_client.parser import text_string_to_metric_families
from sample_agents import Echo

from dspex_agents import (
    ChildSpec,
    SupervisorSpec,
    System,
    SystemSpec,
    start_local_system,
)
from dspex_agents.messaging.dead_letters import DeadLetter
from dspex_ray.cli.agents.letters import letter_json

Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `dspex agents WORDS` on systems of this process."""
    return lambda words, *systems: run_agents(capsys, words, *systems)


@pytest.fixture
def system() -> Iterator[System]:
    with start_local_system(shop()) as started:
        yield started


# dead letters ---------------------------------------------------------------------------------------------------
def test_a_letters_json_has_every_field_but_the_priority() -> None:
    letter = DeadLetter("l1", "w1", "'hello'", "its mailbox was full", 2, 10.0, 20.0, "front")
    assert letter_json(letter) == {
        "message": "'hello'",
        "id": "l1",
        "sender": "front",
        "recipient": "w1",
        "reason": "its mailbox was full",
        "attempts": 2,
        "first_failure_at": 10.0,
        "last_failure_at": 20.0,
    }


@pytest.fixture
def letters(wait: Callable[..., None]) -> Iterator[System]:
    """Return a system with dead letters: two to an agent that is not there, one to another."""
    children = (ChildSpec(id="teller", start=Teller), ChildSpec(id="later", start=Echo))
    with start_local_system(SystemSpec(name="post", supervisor=SupervisorSpec(id="top", children=children))) as system:
        for body in (("nobody", "first"), ("nobody", "second"), ("elsewhere", "third")):
            system.ask("teller", body)
        wait(lambda: len(system.dead_letters()) == 3, what="three dead letters")
        yield system


def test_of_a_long_message_the_start_is_shown(run: Run, letters: System, wait: Callable[..., None]) -> None:
    letters.ask("teller", ("long", "x" * 1000))
    wait(lambda: letters.tree().dead_letters == 4, what="a fourth dead letter")
    (letter,) = run("dead-letters --recipient long --json", letters).json["dead_letters"]
    assert letter["message"].startswith("'xxxx")
    assert "xxx...xxx" in letter["message"]
    assert len(letter["message"]) == 120


def test_dead_letters_are_shown_with_recipient_reason_and_message(run: Run, letters: System) -> None:
    told = run("dead-letters --recipient nobody --json", letters).json["dead_letters"]
    assert [(letter["sender"], letter["recipient"], letter["message"]) for letter in told] == [
        ("teller", "nobody", "'first'"),
        ("teller", "nobody", "'second'"),
    ]
    text = run("dead-letters", letters).out
    assert text.index("'first'") < text.index("'third'")
    assert "'nobody'" in told[0]["reason"]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ("", 3),
        ("--limit 2", 2),
        ("--recipient elsewhere", 1),
        ("--reason NOBODY", 2),
        ("--min-attempts 9", 0),
        ("--older-than 3600", 0),
        ("--older-than 0", 3),
    ],
)
def test_filters_choose_among_dead_letters(run: Run, letters: System, options: str, count: int) -> None:
    assert len(run(f"dead-letters {options} --json", letters).json["dead_letters"]) == count


def test_purge_throws_away_what_is_meant_and_nothing_else(run: Run, letters: System) -> None:
    assert run("dead-letters --purge --recipient nobody --json", letters).json == {"purged": 2}
    assert [letter.recipient for letter in letters.dead_letters()] == ["elsewhere"]
    assert run("dead-letters --purge", letters).out == "Thrown away: 1 letter.\n"
    assert run("dead-letters", letters).out == "No dead letters.\n"


def test_redrive_brings_a_letter_to_an_agent_that_has_come_meanwhile(
    run: Run, letters: System, wait: Callable[..., None]
) -> None:
    letters.start_child("top", ChildSpec(id="nobody", start=Echo))
    assert run("dead-letters --redrive --recipient nobody", letters).out == "Sent again: 2 letters.\n"
    wait(lambda: letters.ask("nobody", "seen")[:2] == ["first", "second"], what="both messages at their recipient")
    assert len(letters.dead_letters()) == 1


def test_metrics_count_dead_letters(run: Run, letters: System) -> None:
    assert 'dspex_dead_letters{system="post"} 3.0' in run("metrics", letters).out


def test_redrive_and_purge_exclude_each_other(run: Run, system: System) -> None:
    refused(run("dead-letters --redrive --purge", system), "give one of the two")


# metrics --------------------------------------------------------------------------------------------------------
def test_metrics_are_printed_in_prometheus_text_and_as_json(run: Run, system: System) -> None:
    families = {family.name for family in text_string_to_metric_families(run("metrics", system).out)}
    assert {"dspex_up", "dspex_agents", "dspex_messages"} <= families
    told = run("metrics --json", system).json
    assert {"name": "dspex_up", "kind": "gauge", "labels": {"system": "shop"}, "value": 1.0} in told["metrics"]


def test_metrics_are_served_on_loopback_until_ctrl_c(run: Run, system: System) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    read: list[str] = []

    def scrape() -> None:
        while not read:  # until the command listens; the test's own time limit ends a vain wait
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    read.append(answer.read().decode())
            except OSError:
                time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    scraping = threading.Thread(target=scrape, daemon=True)
    scraping.start()
    said = run(f"metrics --serve {port} --json", system)
    scraping.join()
    assert (said.code, said.json) == (0, {"url": f"http://127.0.0.1:{port}/metrics"})
    assert 'dspex_up{system="shop"} 1.0' in read[0]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.5", "example.com"])
def test_metrics_are_not_served_where_anybody_could_read_them(run: Run, system: System, host: str) -> None:
    refused(run(f"metrics --serve 0 --host {host}", system), f"Refusing to serve metrics on '{host}': there is no")


def test_a_port_that_is_taken_is_refused_with_the_port(run: Run, system: System) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(run(f"metrics --serve {port}", system), f"Port {port} on 127.0.0.1 cannot be used")
