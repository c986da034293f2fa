"""`OidcSettings`: whose bearer tokens are taken, and what their claims mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from dspex_ray.access.keys import is_tenant
from dspex_ray.access.roles import ROLES, Role
from dspex_ray.errors import ConfigurationError
from dspex_ray.problems import near, shown

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What tokens may be signed with: never nothing, and never a secret that we would have to share with their maker."""
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_MOST_LEEWAY_S: Final = 600.0


def _same_roles() -> dict[str, Role]:
    return {role: role for role in ROLES}


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """One provider. Its keys are fetched from `jwks_url`, by default from where its discovery document says.

    `audiences` are those that tokens may be for. Claims are named whole, or as steps into objects such as
    `realm_access.roles`. The tenant is `tenant`, or else what `tenant_claim` says. `roles` says which of our roles the
    words of `roles_claim` (a list, or text with blanks between) stand for; others stand for none. `leeway_s` is how
    far clocks may differ, either way. Keys are fetched anew after `max_age_s`, and for a key id that is not known, but
    at most every `refetch_floor_s`; when that fails for `most_stale_s`, no token is taken. All times in seconds.
    Raises ConfigurationError with all that is wrong.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks_url: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    tenant: str | None = None
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"
    roles: Mapping[str, Role] = field(default_factory=_same_roles)
    user_claim: str = "sub"
    leeway_s: float = 60.0
    timeout_s: float = 5.0
    refetch_floor_s: float = 30.0
    max_age_s: float = 3_600.0
    most_stale_s: float = 86_400.0

    def __post_init__(self) -> None:
        if wrong := [*self._wrong_names(), *self._wrong_times()]:
            raise ConfigurationError(f"OpenID Connect: {'; '.join(wrong)}.")

    def _wrong_names(self) -> Iterator[str]:
        for name, url in (("issuer", self.issuer), ("jwks_url", self.jwks_url)):
            if url is not None and (reason := wrong_url(url)):
                yield f"{name} {reason}"
        if not self.audiences or not all(self.audiences):
            yield "audiences must name whom tokens are for; without it a token for any other service would do"
        if not self.algorithms:
            yield f"algorithms must name one or more of {', '.join(ALGORITHMS)}"
        for name in self.algorithms:
            if name not in ALGORITHMS:
                yield f"algorithm {shown(name)} is none of {', '.join(ALGORITHMS)}{near(name, ALGORITHMS)}"
        for word, role in self.roles.items():
            if role not in ROLES:
                yield f"roles: {shown(word)} stands for {shown(role)}, which is none of {', '.join(ROLES)}"
        if self.tenant is not None and not is_tenant(self.tenant):
            yield f"{shown(self.tenant)} is no name of a tenant"
        for name in ("tenant_claim", "roles_claim", "user_claim"):
            if not getattr(self, name):
                yield f"{name} must name a claim"

    def _wrong_times(self) -> Iterator[str]:
        for name in ("timeout_s", "refetch_floor_s", "max_age_s", "most_stale_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                yield f"{name} must be above 0 seconds, got {value!r}"
        if not 0 <= self.leeway_s <= _MOST_LEEWAY_S:
            yield f"leeway_s must be from 0 to {_MOST_LEEWAY_S:g} seconds, got {self.leeway_s!r}"


def wrong_url(url: str) -> str | None:
    """Return what is wrong with an address that keys are to be fetched from; None for a good one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("https", "http") or not host:
        return f"must be an https URL, got {shown(url)}"
    if parts.scheme == "http" and host not in _LOOPBACK:
        return f"must be https, since whoever answers in the provider's place could sign any token, got {shown(url)}"
    return None
