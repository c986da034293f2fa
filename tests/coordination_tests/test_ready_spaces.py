"""The ready spaces for language models: every draw can run, whatever is left out or limited."""

from __future__ import annotations

import json
import random
from collections import Counter
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination.errors import SpaceError
from dspex_coordination.ready_spaces import (
    MODELS,
    TOKEN_MULTIPLIERS,
    ModelFacts,
    language_model_space,
    multi_objective_space,
    provider_space,
    teleprompter_space,
)
from dspex_coordination.ready_spaces.model_facts import MODELS_SOURCE
from dspex_coordination.space import Space

BY_NAME = {model.name: model for model in MODELS}
SMALL = ModelFacts("own/small", "own", 4000, 1500, 1.0, 2.0, temperature=1.0)

models = st.builds(
    ModelFacts,
    name=st.text("abcdefgh", min_size=1, max_size=4),
    provider=st.sampled_from(["one", "two", "three"]),
    context_window=st.integers(3100, 9000),
    max_output=st.integers(1100, 6000),
    input_price=st.floats(0, 5),
    output_price=st.floats(0, 20),
    temperature=st.sampled_from([None, 1.0, 2.0]),
    top_p=st.booleans(),
    penalties=st.booleans(),
)


def drawn(space: Space, count: int = 150) -> list[dict[str, Any]]:
    rng = random.Random(11)
    return [dict(space.sample(rng).values) for _ in range(count)]


def test_bug_the_drawn_model_is_always_one_of_the_drawn_provider() -> None:
    values = drawn(language_model_space(), 400)
    assert all(BY_NAME[one["model"]].provider == one["provider"] for one in values)
    assert {one["model"] for one in values} == set(BY_NAME)
    assert all(one["context_window"] == BY_NAME[one["model"]].context_window for one in values)


@given(st.lists(models, min_size=1, max_size=6, unique_by=lambda model: model.name), st.integers(0, 2**32))
def test_every_draw_fits_window_output_and_settings_of_its_model(facts: list[ModelFacts], seed: int) -> None:
    by_name = {model.name: model for model in facts}
    space = language_model_space(facts, prompt_tokens=2000, output_tokens=300, max_tokens=8000)
    candidate = space.sample(random.Random(seed))
    model = by_name[candidate.values["model"]]
    active = space.active(candidate.values)
    assert candidate.values["max_tokens"] <= min(model.max_output, model.context_window - 2000)
    assert ("temperature" in active) is (model.temperature is not None)
    assert "temperature" not in active or candidate.values["temperature"] <= (model.temperature or 0)
    assert ("top_p" in active) is (model.temperature is not None and model.top_p)
    assert ("presence_penalty" in active) is model.penalties
    assert Space.from_json(space.to_json()) == space


def test_no_draw_is_hot_and_narrow_at_once() -> None:
    space = provider_space("groq")
    assert not [one for one in drawn(space, 400) if one["temperature"] > 1.5 and one["top_p"] < 0.3]
    values = {**space.default().values, "temperature": 1.8, "top_p": 0.1}
    (violation,) = space.violations(values)
    assert "draws noise from few tokens" in violation.message
    assert violation.fix == "Lower temperature to 1.5, or raise top_p to 0.3."


def test_a_price_cap_leaves_out_models_and_limits_the_rest() -> None:
    space = language_model_space(max_cost_usd=0.004)
    values = drawn(space)
    assert all(one["cost_usd"] <= 0.004 for one in values)
    assert "anthropic/claude-opus-5-5" not in {one["model"] for one in values}
    one = values[0]
    expected = min(500 * TOKEN_MULTIPLIERS[one["reasoning_strategy"]], one["max_tokens"])
    assert one["cost_usd"] == pytest.approx(BY_NAME[one["model"]].cost_usd(2000, expected))


def test_a_small_window_limits_max_tokens_with_a_message_and_a_fix() -> None:
    space = language_model_space([SMALL, *MODELS], prompt_tokens=2600)
    values = {**space.default().values, "provider": "own", "max_tokens": 1401}
    (violation,) = space.violations(values)
    assert violation.message == "max_tokens is at most 1400 for own/small (beside a prompt of 2600 tokens)."
    assert violation.fix == "Lower max_tokens to 1400, or take another model."


def test_weights_say_how_often_a_provider_is_drawn() -> None:
    space = language_model_space(weights={"groq": 8, "openai": 2, "anthropic": 0, "google": 0})
    found = Counter(one["provider"] for one in drawn(space, 500))
    assert set(found) == {"groq", "openai"}
    assert found["groq"] / 500 == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: language_model_space([]), "No model can serve such a call .none is given."),
        (lambda: language_model_space([SMALL], prompt_tokens=3900), r"own/small: 3900 \+ 1000 tokens do not fit"),
        (lambda: language_model_space([SMALL], max_cost_usd=0.001), "own/small: a call costs 0.003 USD"),
        (lambda: language_model_space([SMALL, SMALL]), "The model 'own/small' is given twice"),
        (lambda: language_model_space(prompt_tokens=-1, output_tokens=0), "prompt_tokens .*, got -1; output_tokens"),
        (lambda: language_model_space(max_cost_usd=float("nan")), "max_cost_usd is the price of a call"),
        (lambda: language_model_space(strategies=["guess"]), "Unknown strategy 'guess'"),
        (lambda: language_model_space(strategies=[]), "strategies is a list of at least one of predict"),
        (lambda: language_model_space(weights={"nobody": 1}), r"no provider of the usable models: \['nobody'\]"),
        (lambda: provider_space("opnai"), "No model of the provider 'opnai' is known. Did you mean 'openai'"),
        (lambda: ModelFacts("", "p", 1, 1, 0, 0), "a name and a provider"),
        (lambda: ModelFacts("m", "p", 0, 1, 0, 0), "m: context_window and max_output"),
        (lambda: ModelFacts("m", "p", 1, 1, -1, 0), "m: prices are US dollars"),
        (lambda: ModelFacts("m", "p", 1, 1, 0, 0, temperature=0), "m: temperature is the highest it takes"),
    ],
)
def test_what_cannot_be_built_is_named(make: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


@pytest.mark.parametrize("provider", ["openai", "anthropic", "groq", "google"])
def test_the_space_of_a_provider_holds_its_models_only(provider: str) -> None:
    space = provider_space(provider)
    assert {BY_NAME[one["model"]].provider for one in drawn(space, 60)} == {provider}
    assert space.feasible(space.default().values)


def test_samples_count_only_where_answers_are_compared() -> None:
    space = multi_objective_space(max_demos=2).bind(["a", "b", "c"])
    values = drawn(space, 200)
    assert {one["samples"] for one in values if one["reasoning_strategy"] != "self_consistency"} == {5}
    assert len({one["samples"] for one in values if one["reasoning_strategy"] == "self_consistency"}) > 2
    assert len({json.dumps(one["demos"]) for one in values}) > 5


def test_the_teleprompter_space_chooses_instruction_examples_and_form() -> None:
    space = teleprompter_space("Answer.", instructions=["Think first.", "Be brief."]).bind(["a", "b"])
    assert {one["instruction"] for one in drawn(space, 60)} == {"Answer.", "Think first.", "Be brief."}
    assert set(space.free) == {"instruction", "demos", "adapter", "reasoning_strategy"}


def test_the_table_of_models_repeats_its_source() -> None:
    if f"litellm {version('litellm')}" != MODELS_SOURCE:
        pytest.skip(f"the table was read from {MODELS_SOURCE}; another one is installed")
    path = distribution("litellm").locate_file("litellm/model_prices_and_context_window_backup.json")
    table = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    for model in MODELS:
        entry = table.get(model.name) or table[model.name.partition("/")[2]]
        assert entry["litellm_provider"] == {"google": "gemini"}.get(model.provider, model.provider)
        assert (model.context_window, model.max_output) == (entry["max_input_tokens"], entry["max_output_tokens"])
        assert model.input_price == pytest.approx(entry["input_cost_per_token"] * 1e6)
        assert model.output_price == pytest.approx(entry["output_cost_per_token"] * 1e6)
        assert model.temperature is None or entry.get("supports_sampling_params") is not False
