"""Chaos: a search of a program killed with SIGKILL at random calls and resumed ends as the one nobody disturbed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from optimizers_bench.kill_side import optimized
from optimizers_bench.server import world

KILLS = 2


@pytest.mark.chaos
@pytest.mark.timeout(120)
def test_a_search_killed_twice_ends_with_the_program_scores_and_bill_of_one_that_was_not() -> None:
    with world("routing", 3) as server:
        urls = {"counted": server.url, "aside": server.aside}
        found = optimized("simba", "routing", 3, urls, budget=250, workers=2, kills=KILLS)
    assert found["resumed"] == found["calm"]
    assert found["calm"]["rows"] > 0
    assert found["again"] <= found["most_again"]
    assert found["calm"]["bill of the rows"] < found["server_usd"][0] <= found["server_usd"][1]
    assert found["ledger_usd"][0] == pytest.approx(found["server_usd"][0], abs=1e-8)
