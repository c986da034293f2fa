"""Settings of an optimizer, given to `optimize`: used, kept, checked before anything runs, the same on resumption."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_coordination.optimizers import OPTIMIZERS, make_optimizer, optimizer_settings
from dspex_coordination.optimizers.registry import OUTER
from dspex_coordination.sweep import SweepStore
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS, program_optimizer_settings
from dspex_ray.store import Store

ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(20)]


class Parity(dspex.Predict):
    """Say whether the number is even."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    temperature = dspex.Float(0.0, 1.0, default=0.1)
    demos = dspex.Demos(max=4)


class Guess:
    """Says yes."""

    model = "simulated/guess"

    async def complete(self, request: LMRequest) -> LMReply:
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text='{"answer": "yes"}', model=self.model, usage=usage, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class Silent(Guess):
    """Must not be asked."""

    async def complete(self, request: LMRequest) -> LMReply:
        raise AssertionError(f"asked: {request}")


def search(store: Store, lm: LM | None = None, **options: Any) -> dspex.Optimized:
    asked = {"runtime": "in-process", "workers": 1, "store": store, "trials": 6, **options}
    return dspex.optimize(Parity().with_lm(lm or Guess()), ROWS, **asked)


def test_a_setting_changes_what_is_searched_and_is_kept_with_the_version(store: Store) -> None:
    found = search(store, optimizer="bootstrap_few_shot", settings={"labelled": 1, "bootstrapped": 1})
    most = max(len(trial.candidate.values["demos"].get("ids", ())) for trial in found.history)
    assert most == 1
    assert found.version.facts["settings"] == {"labelled": 1, "bootstrapped": 1}
    assert SweepStore(store.database).load(found.run_id).fingerprint["settings"] == {"labelled": 1, "bootstrapped": 1}


def test_a_run_goes_on_with_its_settings_and_is_refused_with_others(store: Store) -> None:
    settings = {"population": 3, "founders": 2}
    first = search(store, optimizer="genetic", settings=settings)
    longer = search(store, optimizer="genetic", settings=settings, resume=first.run_id, trials=9)
    assert longer.history[: len(first.history)] == first.history
    assert len(longer.history) > len(first.history)
    with pytest.raises(dspex.UsageError, match=r"settings: was \{.*3, .*\}, is now \{.*4, .*\}"):
        search(store, Silent(), optimizer="genetic", settings={**settings, "population": 4}, resume=first.run_id)
    with pytest.raises(dspex.UsageError, match=r"settings: was .*, is now None"):
        search(store, Silent(), optimizer="genetic", resume=first.run_id)


def test_a_run_without_settings_goes_on_without_and_is_refused_with_some(store: Store) -> None:
    first = search(store, optimizer="genetic")
    assert "settings" not in SweepStore(store.database).load(first.run_id).fingerprint  # as in all runs of before
    assert len(search(store, optimizer="genetic", resume=first.run_id, trials=8).history) == 8
    with pytest.raises(dspex.UsageError, match=r"settings: was None, is now \{'population': 4\}"):
        search(store, Silent(), optimizer="genetic", settings={"population": 4}, resume=first.run_id)


@pytest.mark.parametrize("optimizer", ["reflective", "simba"])
def test_an_unknown_setting_is_refused_with_near_matches_before_anything_runs(store: Store, optimizer: str) -> None:
    with pytest.raises(dspex.UsageError, match="has no setting 'minibach'") as refused:
        search(store, Silent(), optimizer=optimizer, settings={"minibach": 5})
    said = str(refused.value)
    assert repr(optimizer) in said
    assert "Did you mean 'minibatch'?" in said
    for name in program_optimizer_settings(optimizer):
        assert name in said


@pytest.mark.parametrize(
    ("optimizer", "settings", "said"),
    [
        ("reflective", {"minibatch": "five"}, "'reflective' takes minibatch as int, got 'five'"),
        ("reflective", {"minibatch": 2.5}, "'reflective' takes minibatch as int, got 2.5"),
        ("genetic", {"population": True}, "'genetic' takes population as int, got True"),
        ("bootstrap_few_shot", {"steps": "some"}, r"takes steps as Literal\['last', 'all'\], got 'some'"),
        ("bootstrap_few_shot", {"looks": -1}, "bootstrap_few_shot: looks must be at least 0, got -1"),
        ("genetic", {"population": 1}, "genetic: population must be at least 2, got 1"),
        ("racing:genetic", {"width": 2, "founder": 3}, "'racing:genetic' has no setting 'founder'. Did you mean"),
        ("reflective", {"minibatch": object()}, "JSON"),
        ("reflective", {"vary": float("nan")}, "JSON"),
        ("reflective", "minibatch=5", "settings is a mapping"),
        ("auto", {"minibatch": 5}, "optimizer='auto' may choose any: name the optimizer that takes minibatch"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_runs(
    store: Store, optimizer: str, settings: Any, said: str
) -> None:
    with pytest.raises(dspex.UsageError, match=said):
        search(store, Silent(), optimizer=optimizer, settings=settings)
    assert SweepStore(store.database).list_sweeps() == ()


def test_the_outer_and_the_inner_optimizer_take_their_own_settings(store: Store) -> None:
    found = search(store, optimizer="racing:genetic", settings={"width": 2, "population": 4})
    assert found.version.facts["settings"] == {"width": 2, "population": 4}


def test_no_name_of_a_setting_is_that_of_an_outer_and_an_inner_optimizer() -> None:
    for outer in OUTER:
        for inner in set(OPTIMIZERS) - set(OUTER):
            assert optimizer_settings(outer).keys().isdisjoint(optimizer_settings(inner))


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_of_values_takes_no_settings_but_its_own(name: str) -> None:
    settings_of: Callable[[str], dict[str, Any]] = optimizer_settings
    assert {"seed", "max_trials", "inner"}.isdisjoint(settings_of(name))
    assert make_optimizer(name, seed=1, max_trials=3, settings={}).name == name


@pytest.mark.parametrize("name", PROGRAM_OPTIMIZERS)
def test_every_optimizer_of_programs_says_what_may_be_set(name: str) -> None:
    assert {"seed", "max_trials", "sketch"}.isdisjoint(program_optimizer_settings(name))
