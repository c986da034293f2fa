"""`KeySource`: a provider's keys, fetched when they are needed and not more often."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp
import jwt

from dspex_agents.clock import Clock
from dspex_ray.access.oidc_settings import OidcSettings, wrong_url
from dspex_ray.access.public_keys import PublicKeys, TokenHead

_MOST_BYTES: Final = 262_144
_DISCOVERY: Final = "/.well-known/openid-configuration"
_OK: Final = 200

_log = logging.getLogger(__name__)

Fetch = Callable[[OidcSettings], Awaitable[Mapping[str, Any]]]


class ProviderError(Exception):
    """The provider's keys are not to be had; says why."""


class KeySource:
    """Keys of one provider, for one event loop.

    A key that is known is given at once; a set that is older than `max_age_s` is fetched anew meanwhile. A key that is
    not known is waited for, at most `timeout_s`. All who need a fetch share one; after it, failed or not, there is none
    for `refetch_floor_s`, whatever key ids tokens name.
    """

    def __init__(self, settings: OidcSettings, clock: Clock, fetch: Fetch | None = None) -> None:
        self._settings, self._clock, self._fetch = settings, clock, fetch or fetch_keys
        self._keys: PublicKeys | None = None
        self._fetched_at = self._tried_at = -float("inf")
        self._refresh: asyncio.Task[None] | None = None

    def known(self) -> PublicKeys | None:
        """Return the keys as last fetched; another object after each fetch, None when none could be fetched lately."""
        age = self._clock.monotonic() - self._fetched_at
        if age > self._settings.most_stale_s:
            self._keys = None
        elif age > self._settings.max_age_s:
            self._begin()
        return self._keys

    async def find(self, head: TokenHead) -> list[jwt.PyJWK]:
        """Return the keys a token may be signed with. Raises ProviderError when no keys could be fetched lately."""
        keys = self.known()
        if keys is not None and (found := keys.find(head)):
            return found
        self._begin()
        if self._refresh is not None:
            await asyncio.shield(self._refresh)  # others wait for it too
        if self._keys is None:
            raise ProviderError(f"the keys of {self._settings.issuer} could not be fetched")
        return self._keys.find(head)

    async def aclose(self) -> None:
        """Give up a fetch that is under way."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    def _begin(self) -> None:
        now = self._clock.monotonic()
        if self._refresh is not None or now - self._tried_at < self._settings.refetch_floor_s:
            return
        self._tried_at = now
        self._refresh = asyncio.create_task(self._fetch_keys())

    async def _fetch_keys(self) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                keys = self._usable(await self._fetch(self._settings))
        except (ProviderError, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            told = str(error) or type(error).__name__
            _log.warning("the keys of %s could not be fetched: %s", self._settings.issuer, told)
        else:
            self._keys, self._fetched_at = keys, self._clock.monotonic()
        finally:
            self._refresh = None

    def _usable(self, document: Mapping[str, Any]) -> PublicKeys:
        keys = PublicKeys(document, self._settings.algorithms)
        if not keys:
            raise ProviderError("its key set holds no key for the allowed algorithms")
        return keys


async def fetch_keys(settings: OidcSettings) -> Mapping[str, Any]:
    """Fetch a provider's key set, by its discovery document if no address is set.

    Raises ProviderError for an answer that is none, aiohttp.ClientError and OSError for no answer.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=settings.timeout_s)) as session:
        url = settings.jwks_url
        if url is None:
            told = await _object(session, settings.issuer.rstrip("/") + _DISCOVERY)
            if told.get("issuer") != settings.issuer:  # OpenID Connect Discovery 1.0, section 4.3
                raise ProviderError("its discovery document names another issuer")
            given = told.get("jwks_uri")
            url = given if isinstance(given, str) else ""
            if (reason := wrong_url(url)) is not None:
                raise ProviderError(f"`jwks_uri` of its discovery document {reason}")
        return await _object(session, url)


async def _object(session: aiohttp.ClientSession, url: str) -> Mapping[str, Any]:
    body = bytearray()
    async with session.get(url, allow_redirects=False) as response:
        if response.status != _OK:
            raise ProviderError(f"{url} answered with {response.status}")
        async for chunk in response.content.iter_chunked(65_536):
            body += chunk
            if len(body) > _MOST_BYTES:
                raise ProviderError(f"{url} sent more than {_MOST_BYTES} bytes")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderError(f"{url} sent no JSON") from error
    if not isinstance(found, dict):
        raise ProviderError(f"{url} sent no JSON object")
    return found
