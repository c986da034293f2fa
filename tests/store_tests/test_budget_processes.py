"""The ledger and hard budgets over eight real processes, one of them killed: equal to the server's own counters."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.budgets.budget import Budget
from dspex_ray.store import CallFilter, Store, open_store
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

SCRIPT = Path(__file__).parents[1] / "support" / "ledger_process.py"
PROMPT_USD, REPLY_USD = 1e-4, 1e-3
DEADLINE_S = 60.0
EIGHT = tuple("abcdefgh")


def start(url: str, store: str, *names: str, **options: Any) -> subprocess.Popen[str]:
    """Start a process for each name."""
    told = {"url": url, "store": store, "concurrency": 4, "max_tokens": 20, **options}
    several = json.dumps([{**told, "name": name} for name in names])
    return subprocess.Popen([sys.executable, str(SCRIPT), several], stdout=subprocess.PIPE, text=True)


def told_by(processes: subprocess.Popen[str]) -> Counter[str]:
    told: Counter[str] = Counter()
    text, _ = processes.communicate(timeout=DEADLINE_S)
    assert processes.returncode == 0
    for line in text.splitlines():
        told.update(json.loads(line))
    return told


def wait_for(what: str, condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def wait_for_four_that_hang(victims: ModelServer) -> None:
    """Return once 20 calls were answered and four more are open."""

    def hang() -> bool:
        counted = victims.counters()
        return (counted["answered"], counted["in_flight"]) == (20, 4)

    wait_for("four calls hang", hang)


def rows_of(store: Store) -> list[dict[str, Any]]:
    return list(store.single_calls(CallFilter()))


def test_the_ledger_equals_the_servers_counters_over_eight_processes_with_faults_and_cache_hits(url: str) -> None:
    faults = Faults(rate_429=0.1, rate_500=0.1, rate_cut=0.05, retry_after_s=0.01)
    with ModelServer(weather=Weather(seed=3, latency=0.002, faults=faults)) as server:
        open_store(url).database.close()
        told = told_by(start(server.base_url, url, *EIGHT, calls=40, cached=True))
        counted = server.counters()
    totals = open_store(url).totals()
    assert totals.calls == 8 * 40
    assert (totals.prompt_tokens, totals.completion_tokens) == (counted["prompt_tokens"], counted["completion_tokens"])
    ok = totals.calls - totals.failed - totals.cached
    assert (ok, totals.cached) == (counted["answered"], told["cached"])
    assert told["answered"] == counted["answered"]
    assert counted["by_status"]["429"] > 0
    assert counted["by_status"]["500"] > 0
    assert totals.cached > 0
    assert totals.unknown == 0


def test_calls_in_flight_at_a_kill_are_exactly_the_unknown_ones(url: str) -> None:
    """The victim's first 20 calls are answered, and the next four hang: those are in flight when it is killed."""
    store = open_store(url)
    with (
        ModelServer(weather=Weather(script=["ok"] * 20 + ["hang"] * 4)) as victims,
        ModelServer(weather=Weather(latency=0.002)) as server,
    ):
        victim = start(victims.base_url, url, "victim", calls=1000)
        others = start(server.base_url, url, *EIGHT[:7], calls=20)
        wait_for_four_that_hang(victims)
        victim.kill()
        victim.communicate(timeout=DEADLINE_S)
        told_by(others)
        open_store(url).database.close()
        counted = [one.counters() for one in (victims, server)]
    totals = store.totals()
    for name in ("prompt_tokens", "completion_tokens"):
        assert getattr(totals, name) == sum(one[name] for one in counted)
    rows = rows_of(store)
    assert sorted(row["row"] for row in rows if row["status"] == "unknown") == [20, 21, 22, 23]
    assert totals.unknown == 4
    assert totals.calls == 20 + 4 + 7 * 20
    assert {row["tenant"] for row in rows} == {"acme"}


def test_a_cap_over_eight_processes_is_spent_to_the_last_call_and_not_passed(url: str) -> None:
    """A call costs 3 x 0.0001 for the prompt and 3 x 0.001 for the echo, and reserves more than that."""
    store = open_store(url)
    store.set_budget(Budget(scope="tenant", name="acme", usd=0.5), now=time.time())
    with ModelServer(weather=Weather(latency=0.005)) as server:
        told = told_by(start(server.base_url, url, *EIGHT, calls=200))
        counted = server.counters()
    spent = counted["prompt_tokens"] * PROMPT_USD + counted["completion_tokens"] * REPLY_USD
    (status,) = store.budget_statuses(now=time.time())
    assert spent <= 0.5
    assert told["BudgetExceededError"] + told["answered"] == 8 * 200
    assert status.spent.usd == pytest.approx(spent)
    assert status.out.usd == pytest.approx(0.0)
    assert status.holders == 0
    most_of_one_call = 0.03
    assert spent > 0.5 - most_of_one_call  # the last dollar is spent, not stranded


def test_a_killed_process_gives_back_what_it_did_not_spend_and_no_more(url: str) -> None:
    store = open_store(url)
    store.set_budget(Budget(scope="run", name="run-1", calls=100), now=time.time())
    with (
        ModelServer(weather=Weather(script=["ok"] * 20 + ["hang"] * 4)) as victims,
        ModelServer(weather=Weather(latency=0.002)) as server,
    ):
        victim = start(victims.base_url, url, "victim", calls=1000)
        wait_for_four_that_hang(victims)
        victim.kill()
        victim.communicate(timeout=DEADLINE_S)
        told = told_by(start(server.base_url, url, *EIGHT[:3], calls=40))
    assert told == {"answered": 76, "BudgetExceededError": 44}
    (status,) = store.budget_statuses(now=time.time())
    assert (status.spent.calls, status.out.calls) == (100, 0)
