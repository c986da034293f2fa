"""Model names: which client, address and key each gets, and what a wrong name is told."""

from __future__ import annotations

import asyncio

import pytest

from dspex_agents.settings import Settings
from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.lm.base import LM
from dspex_ray.lm.embedded import EmbeddedNearest
from dspex_ray.lm.litellm_client import LiteLLMLM
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.resolve import resolve_lm
from dspex_ray.testing.lm_contract import ask
from dspex_ray.testing.model_server import ModelServer


def resolved(name: str | LM | None, base_url: str | None = None, **environ: str) -> LM:
    return resolve_lm(name, settings=Settings.from_env(environ), base_url=base_url)


def complete(lm: LM) -> str:
    return asyncio.run(lm.complete(ask("hello"))).text


def test_without_a_name_the_setting_counts_and_then_the_embedded_model() -> None:
    assert isinstance(resolved(None), EmbeddedNearest)
    assert resolved(None, DSPEX_LM="ollama/llama3").model == "ollama/llama3"
    assert isinstance(resolved("embedded/nearest", DSPEX_LM="ollama/llama3"), EmbeddedNearest)


def test_a_client_is_returned_as_it_is() -> None:
    lm = EmbeddedNearest()
    assert resolved(lm) is lm


@pytest.mark.parametrize(
    ("name", "environ", "address"),
    [
        ("openai/gpt-4o-mini", {"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1"),
        ("openai/own", {"OPENAI_BASE_URL": "http://box:8000/v1/"}, "http://box:8000/v1"),
        ("ollama/llama3", {}, "http://127.0.0.1:11434/v1"),
        ("ollama/llama3", {"OLLAMA_HOST": "0.0.0.0"}, "http://127.0.0.1:11434/v1"),  # noqa: S104 - read, not bound
        ("ollama/llama3", {"OLLAMA_HOST": "box:99"}, "http://box:99/v1"),
        ("ollama/llama3", {"OLLAMA_HOST": "https://box"}, "https://box:443/v1"),
        ("vllm/org/model", {"VLLM_BASE_URL": "http://box/v1"}, "http://box/v1"),
        ("hosted_vllm/model", {"VLLM_BASE_URL": "http://box/v1"}, "http://box/v1"),
        ("llamacpp/any", {}, "http://127.0.0.1:8080/v1"),
    ],
)
def test_direct_providers_get_their_address(name: str, environ: dict[str, str], address: str) -> None:
    lm = resolved(name, **environ)
    assert isinstance(lm, OpenAICompatibleLM)
    assert lm.model == name
    assert f"base_url={address!r}" in repr(lm)


def test_other_providers_go_through_litellm() -> None:
    for name in ("anthropic/claude-sonnet-4-5", "openrouter/a/b", "bedrock/x"):
        assert isinstance(resolved(name), LiteLLMLM)


def test_an_endpoint_without_a_key_is_served_when_its_address_is_given() -> None:
    with ModelServer() as server:
        assert complete(resolved("openai/own", base_url=server.base_url)) == "hello"
        assert complete(resolved("openai/own", OPENAI_BASE_URL=server.base_url)) == "hello"


def test_the_key_for_openai_is_not_sent_to_an_address_given_in_the_call() -> None:
    assert "api_key=None" in repr(resolved("openai/own", base_url="http://box/v1", OPENAI_API_KEY="secret"))


def test_a_missing_key_or_address_says_which_variable_to_set() -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        resolved("openai/gpt-4o-mini")
    with pytest.raises(ConfigurationError, match="VLLM_BASE_URL"):
        resolved("vllm/model")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("gpt4o-mini", "openai/gpt-4o-mini"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("embeded/nearest", "embedded/nearest"),
        ("embedded/nearst", "embedded/nearest"),
        ("nearest", "embedded/nearest"),
        ("opnai/gpt-4o", "openai/gpt-4o"),
        ("antropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
    ],
)
def test_a_wrong_name_is_told_the_right_one(wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean.*'{right}'"):
        resolved(wrong)


@pytest.mark.parametrize("name", ["", "/", "openai/", "/model", "zzz", "no such provider/x"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match="Unknown model"):
        resolved(name)
