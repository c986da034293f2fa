"""`KeyRing`: all keys and tenants as of one moment; it never changes, another one takes its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hmac import compare_digest
from types import MappingProxyType
from typing import Final

from dspex_ray.access.keys import ApiKey, digest_of, id_of
from dspex_ray.access.limits import NO_LIMITS, Limits

_NOBODYS: Final = bytes(32)


class KeyRing:
    """Finds the key that a written one proves. Pickles, so that it can be pushed to replicas."""

    def __init__(self, keys: Iterable[ApiKey] = (), tenants: Mapping[str, Limits] | None = None) -> None:
        self._keys = {key.id: key for key in keys}
        self._tenants = dict(tenants or {})

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """All keys by id."""
        return MappingProxyType(self._keys)

    def limits_of(self, tenant: str) -> Limits:
        """Return what all callers of a tenant may take together."""
        return self._tenants.get(tenant, NO_LIMITS)

    def find(self, written: str, now: float) -> ApiKey | None:
        """Return the key whose secret this is at `now`; None for an unknown, expired or revoked one.

        Every secret is compared in constant time, and an id that is not there costs a comparison too: how long it
        takes tells nothing of a secret, nor whether there is such a key.
        """
        id_ = id_of(written)
        key = None if id_ is None else self._keys.get(id_)
        digest = digest_of(written)
        if key is None:
            compare_digest(digest, _NOBODYS)
            return None
        proved = False
        for secret in key.secrets:
            proved |= compare_digest(digest, secret.digest) & secret.works(now)
        return key if proved and key.status(now) == "active" else None
