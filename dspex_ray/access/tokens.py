"""Bearer tokens of others: the contract of what verifies them, and the one implementation, if it is installed."""

from __future__ import annotations

import importlib
from typing import Protocol

from dspex_agents.clock import Clock
from dspex_ray.access.oidc_settings import OidcSettings
from dspex_ray.errors import ConfigurationError
from dspex_ray.serving.contract import Caller
from dspex_ray.serving.problem import Problem


class Tokens(Protocol):
    """Verifies bearer tokens that are no keys of ours."""

    async def caller(self, token: str) -> Caller | Problem:
        """Return who asks, or what is answered instead."""
        ...

    async def aclose(self) -> None:
        """End what is under way. Called once, after the last request."""
        ...


def oidc_tokens(settings: OidcSettings, clock: Clock | None = None) -> Tokens:
    """Return what verifies a provider's tokens, for one event loop.

    Raises ConfigurationError where the library for it is not installed.
    """
    try:
        verifier: Tokens = importlib.import_module("dspex_ray.access.oidc").OidcTokens(settings, clock=clock)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"Bearer tokens need {error.name!r}: pip install 'dspex-ray[oidc]'.") from error
    return verifier
