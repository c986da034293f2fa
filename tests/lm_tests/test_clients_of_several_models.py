"""Clients that hold other clients (a cache, models in order, models by choice) keep the same contract."""

from __future__ import annotations

from dspex_ray.lm.base import LM
from dspex_ray.lm.cache import CachedLM, CacheSettings
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.retry import Timing
from dspex_ray.lm.routing import FallbackLM, RoutedLM
from dspex_ray.testing.lm_contract import KEY
from dspex_ray.testing.lm_load_contract import LMLoadContract
from dspex_ray.testing.model_server import ModelServer


def direct(server: ModelServer, api_key: str, timing: Timing | None) -> LM:
    return OpenAICompatibleLM(
        "openai/simulated", wire_model="simulated", base_url=server.base_url, api_key=api_key, price=None, timing=timing
    )


class TestCached(LMLoadContract):
    def make_lm(self, server: ModelServer, *, api_key: str = KEY, timing: Timing | None = None) -> LM:
        return CachedLM(direct(server, api_key, timing), CacheSettings("memory"))


class TestFallbackOfOne(LMLoadContract):
    """Errors of a second model would hide the first one's; falling over has tests of its own."""

    def make_lm(self, server: ModelServer, *, api_key: str = KEY, timing: Timing | None = None) -> LM:
        return FallbackLM([direct(server, api_key, timing)])


class TestRouted(LMLoadContract):
    def make_lm(self, server: ModelServer, *, api_key: str = KEY, timing: Timing | None = None) -> LM:
        return RoutedLM([direct(server, api_key, timing) for _ in range(2)])
