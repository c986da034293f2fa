"""The front of a search with several objectives, kept as versions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_ray import trial_versions
from dspex_ray.calls import recorded_call
from dspex_ray.lm.base import ChatMessage, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.optimized import Optimized
from dspex_ray.store import Store

ROWS = [{"number": number, "double": 2 * number} for number in range(40)]
BOTH = ("score", "cost_usd")


class Priced:
    """A model whose every token costs."""

    model = "test/priced"

    async def complete(self, request: LMRequest) -> LMReply:
        tokens = request.max_tokens or 0
        return LMReply(text="", model=self.model, usage=Usage(completion_tokens=tokens), cost_usd=tokens * 1e-4)

    async def stream(self, request: LMRequest) -> Any:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None: ...


class Doubler(dspex.Program):
    """Double the number: right for more rows the more effort is spent."""

    class Input(dspex.Schema):
        number: int

    class Output(dspex.Schema):
        double: int

    effort = dspex.Int(0, 30, default=5)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        request = LMRequest(messages=(ChatMessage("user", str(input.number)),), max_tokens=self.effort)
        await recorded_call(self.lm, request, self.path)
        return self.Output(double=2 * input.number if input.number < self.effort else -1)


def optimized(store: Store, **options: Any) -> Optimized:
    """Of the 31 candidates the front is all but a few, if all are tried."""
    asked: dict[str, Any] = {
        "trials": 31,
        "optimizer": "random",
        "runtime": "in-process",
        "objectives": BOTH,
        **options,
    }
    return dspex.optimize(Doubler().with_lm(Priced()), ROWS[30:], validation=ROWS[:30], store=store, **asked)


def efforts(found: Optimized) -> list[int]:
    return [(one.state or {})["values"]["effort"] for one in found.versions]


def test_each_member_of_a_small_front_is_kept_once_and_the_best_last(store: Store) -> None:
    found = optimized(store, trials=12)
    assert 2 < len(found.pareto) < trial_versions.MOST_KEPT
    assert sorted(efforts(found)) == sorted(trial.candidate.values["effort"] for trial in found.pareto)
    assert [one.number for one in found.versions] == list(range(1, len(found.pareto) + 1))
    assert found.versions[-1] == found.version
    assert store.version(found.version.program, "latest") == found.version


def test_a_version_says_what_its_own_candidate_did(store: Store) -> None:
    found = optimized(store, trials=12)
    trials = {trial.number: trial for trial in found.pareto}
    for version in found.versions:
        trial = trials[version.facts["trial"]]
        assert version.facts["measures"] == pytest.approx(dict(trial.measures))
        assert (version.facts["score"], version.facts["rows"]) == (trial.mean, len(trial.rows))
        assert [one["name"] for one in version.facts["objectives"]] == list(BOTH)
        assert (version.run_id, version.parent) == (found.run_id, None)


def test_of_a_large_front_twenty_are_kept_from_end_to_end(store: Store) -> None:
    found = optimized(store)
    tried = sorted(trial.candidate.values["effort"] for trial in found.pareto)
    kept = sorted(efforts(found))
    assert len(tried) > trial_versions.MOST_KEPT == len(kept) == len(set(kept))
    assert (kept[0], kept[-1]) == (tried[0], tried[-1])
    assert max(b - a for a, b in pairwise(kept)) <= 6
    assert found.version in found.versions


def test_the_version_of_what_was_picked_holds_its_program(store: Store) -> None:
    found = optimized(store, trials=12)
    for limit in (0.2, 0.8, 2.0):
        program = found.pick(cost_per_1k=limit)
        version = found.version_of(program)
        assert version.state == program.state()
        assert version in found.versions
        assert version == found.version_of(found.pick_trial(cost_per_1k=limit))
        again = Doubler.from_state(store.version(version.program, version.number).state)
        assert again.values == program.values


def test_any_scored_trial_becomes_a_version_when_it_is_asked_for(store: Store) -> None:
    found = optimized(store)
    kept = {one.facts["trial"] for one in found.versions}
    other = next(trial for trial in found.pareto if trial.number not in kept)
    version = found.version_of(found.program_of(other))
    assert version not in found.versions
    assert version == found.version_of(other)
    assert len(store.versions(version.program)) == trial_versions.MOST_KEPT + 1


def test_a_program_from_elsewhere_has_no_version_here(store: Store) -> None:
    found = optimized(store, trials=3)
    with pytest.raises(dspex.UsageError, match="none of the front"):
        found.version_of(Doubler().with_values({"effort": 29}))


def test_the_same_run_taken_up_again_keeps_nothing_twice(store: Store) -> None:
    found = optimized(store, trials=12)
    again = optimized(store, trials=12, resume=found.run_id)
    assert again.versions == found.versions
    assert len(store.versions()) == len(found.versions)


def test_the_same_seed_keeps_the_same_versions_in_the_same_order(store: Store) -> None:
    first, second = optimized(store, workers=1), optimized(store, workers=3)
    assert efforts(first) == efforts(second)


def test_one_objective_keeps_one_version(store: Store) -> None:
    found = optimized(store, objectives=["score"], trials=6)
    assert found.versions == (found.version,)
    assert found.to_json()["versions"] == [{"version": 1, "trial": found.version.facts["trial"]}]
