"""API keys: what one may do, until when, and hashes of the secrets that prove it.

| part    | what it is                                                                                       |
|---------|--------------------------------------------------------------------------------------------------|
| written | `dspex_<id>_<secret>`, such as `dspex_3f9c...`; shown once, kept by its holder alone             |
| id      | 12 hex digits; names the key in lists, records and logs; no secret                               |
| secret  | 64 hex digits, 256 random bits from the operating system                                         |
| kept    | SHA-256 of the written key                                                                       |

Why SHA-256 and no slow hash as for passwords: those make a guess dear since people choose few of the possible
passwords. Of 2^256 equally likely secrets nobody guesses one, however cheap a guess, and a slow hash would cost each
request what it should cost the thief. Nor does it need a salt: no two secrets are the same.
"""

from __future__ import annotations

import hashlib
import re
import secrets as system_secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dspex_ray.access.limits import NO_LIMITS, Limits
from dspex_ray.access.roles import ROLES, Role
from dspex_ray.errors import ConfigurationError
from dspex_ray.problems import near, shown

PREFIX: Final = "dspex_"
LONGEST_NOTE: Final = 500
_WRITTEN = re.compile(r"dspex_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]{0,99}", re.ASCII)
_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_ID_BYTES, _SECRET_BYTES = 6, 32

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySecret:
    """One secret of a key. Times in seconds since the epoch; `ends_at` is set when another took its place."""

    digest: bytes = field(repr=False)
    created_at: float
    ends_at: float | None = None

    def works(self, now: float) -> bool:
        """Whether it proves anything at `now`."""
        return self.ends_at is None or now < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGrant:
    """What a key is to be allowed. `endpoints` of None are all of them, also those that are made later.

    Raises ConfigurationError with all that is wrong.
    """

    tenant: str = "default"
    roles: frozenset[Role] = frozenset({"invoke"})
    endpoints: frozenset[str] | None = None
    expires_at: float | None = None
    note: str = ""
    limits: Limits = NO_LIMITS

    def __post_init__(self) -> None:
        if wrong := [*self._wrong()]:
            raise ConfigurationError(f"API key: {'; '.join(wrong)}.")

    def _wrong(self) -> Iterable[str]:
        if not is_tenant(self.tenant):
            yield f"the tenant is 1 to 100 of letters, digits and _.@:-, got {shown(self.tenant)}"
        for role in sorted(self.roles - set(ROLES)):
            yield f"unknown role {role!r}{near(role, ROLES)}; known are {', '.join(ROLES)}"
        if not self.roles:
            yield f"it needs a role, one or more of {', '.join(ROLES)}"
        if self.endpoints is not None and not self.endpoints:
            yield "it may call no endpoint; name one, or leave endpoints out for all"
        for name in sorted(self.endpoints or ()):
            if not _ENDPOINT.fullmatch(name):
                yield f"{shown(name)} is no name of an endpoint"
        if len(self.note) > LONGEST_NOTE:
            yield f"the note has {len(self.note)} characters, at most {LONGEST_NOTE} are kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept. Times in seconds since the epoch; None is never."""

    id: str
    grant: KeyGrant
    created_at: float
    revoked_at: float | None = None
    secrets: tuple[KeySecret, ...] = field(default=(), repr=False)

    def status(self, now: float) -> str:
        """Return `active`, `revoked` or `expired`."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        expires = self.grant.expires_at
        return "expired" if expires is not None and expires <= now else "active"

    def may_call(self, endpoint: str) -> bool:
        """Whether the endpoint is among those it may call."""
        return self.grant.endpoints is None or endpoint in self.grant.endpoints

    def to_json(self, now: float) -> dict[str, Any]:
        """Return all there is to say of the key; nothing of it helps to use the key."""
        grant = self.grant
        return {
            "id": self.id,
            "tenant": grant.tenant,
            "roles": sorted(grant.roles),
            "endpoints": None if grant.endpoints is None else sorted(grant.endpoints),
            "created_at": self.created_at,
            "expires_at": grant.expires_at,
            "revoked_at": self.revoked_at,
            "status": self.status(now),
            "secrets": [{"created_at": one.created_at, "ends_at": one.ends_at} for one in self.secrets],
            "note": grant.note,
            "limits": grant.limits.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A key with the one sight of its secret: `written` is what its holder sends."""

    key: ApiKey
    written: str = field(repr=False)


def is_tenant(name: str) -> bool:
    """Whether a tenant can have this name."""
    return _TENANT.fullmatch(name) is not None


def digest_of(written: str) -> bytes:
    """Return what is kept of a written key."""
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).digest()


def id_of(written: str) -> str | None:
    """Return the id in a written key; None for what is not written like one."""
    found = _WRITTEN.fullmatch(written)
    return None if found is None else found[1]


def issued(grant: KeyGrant, now: float, random: RandomBytes = system_secrets.token_bytes) -> IssuedKey:
    """Return a new key. Raises ConfigurationError for one that would be expired from the beginning."""
    if grant.expires_at is not None and grant.expires_at <= now:
        raise ConfigurationError("API key: it would expire before it begins; give a time to come.")
    key = ApiKey(id=random(_ID_BYTES).hex(), grant=grant, created_at=now)
    return _with_secret(key, now, random)


def rotated(key: ApiKey, now: float, overlap_s: float, random: RandomBytes = system_secrets.token_bytes) -> IssuedKey:
    """Return the key with a new secret; those before it end after `overlap_s` seconds, or earlier where that is set.

    Raises ConfigurationError for a key that is revoked or expired, and for a time below 0.
    """
    if (status := key.status(now)) != "active":
        raise ConfigurationError(f"API key {key.id} is {status}; create another one.")
    if not overlap_s >= 0:
        raise ConfigurationError(f"The old secret must work for 0 seconds or more, got {overlap_s!r}.")
    end = now + overlap_s
    kept = tuple(
        replace(one, ends_at=end if one.ends_at is None else min(end, one.ends_at))
        for one in key.secrets
        if one.works(now)
    )
    return _with_secret(replace(key, secrets=kept), now, random)


def _with_secret(key: ApiKey, now: float, random: RandomBytes) -> IssuedKey:
    written = f"{PREFIX}{key.id}_{random(_SECRET_BYTES).hex()}"
    secret = KeySecret(digest=digest_of(written), created_at=now)
    return IssuedKey(key=replace(key, secrets=(*key.secrets, secret)), written=written)
