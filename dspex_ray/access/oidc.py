"""`OidcTokens`: bearer tokens of an OpenID Connect provider, verified by its published keys."""

from __future__ import annotations

import hashlib
import logging
from typing import Any, Final

from dspex_agents.clock import Clock, SystemClock
from dspex_ray.access import refusals
from dspex_ray.access.claims import ClaimError, caller_of
from dspex_ray.access.key_source import KeySource, ProviderError
from dspex_ray.access.oidc_settings import OidcSettings
from dspex_ray.access.public_keys import PublicKeys, SignatureError, claims_of, head_of
from dspex_ray.serving.contract import Caller
from dspex_ray.serving.problem import Problem

MOST_PROVED: Final = 500
"""Tokens whose signature is remembered; the oldest goes first."""

_log = logging.getLogger(__name__)


class OidcTokens:
    """Implements `dspex_ray.access.tokens.Tokens` for one provider and one event loop.

    A signature takes 100 microseconds to verify, so those of the last tokens are remembered, by SHA-256 and until the
    next key set; what their claims say is checked each time.
    """

    def __init__(self, settings: OidcSettings, *, clock: Clock | None = None, source: KeySource | None = None) -> None:
        self._settings, self._clock = settings, clock or SystemClock()
        self._source = source or KeySource(settings, self._clock)
        self._proved: dict[bytes, dict[str, Any]] = {}
        self._proved_by: PublicKeys | None = None

    async def caller(self, token: str) -> Caller | Problem:
        """Return who asks; the one 401 for a token that does not hold, 503 while the provider cannot be reached."""
        try:
            return caller_of(await self._claims(token), self._settings, self._clock.now())
        except (SignatureError, ClaimError) as error:
            _log.info("a bearer token is refused: %s", error)
            return refusals.UNAUTHENTICATED
        except ProviderError:
            return refusals.NO_PROVIDER

    async def _claims(self, token: str) -> dict[str, Any]:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if self._source.known() is self._proved_by and (claims := self._proved.get(digest)) is not None:
            return claims
        head = head_of(token, self._settings.algorithms)
        claims = claims_of(token, head, await self._source.find(head))
        if (keys := self._source.known()) is not self._proved_by:
            self._proved, self._proved_by = {}, keys
        elif len(self._proved) >= MOST_PROVED:
            del self._proved[next(iter(self._proved))]
        self._proved[digest] = claims
        return claims

    async def aclose(self) -> None:
        """End what is under way."""
        await self._source.aclose()
