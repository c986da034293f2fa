"""What the claims of a token say: until when it holds, for whom, and who asks. Pure; signatures are checked before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from dspex_ray.access.keys import is_tenant
from dspex_ray.access.oidc_settings import OidcSettings
from dspex_ray.serving.contract import Caller

_LONGEST_USER: Final = 255  # OpenID Connect Core 1.0, section 2, of `sub`


class ClaimError(Exception):
    """A token that does not hold here; the message is for the log and quotes nothing of the token."""


def caller_of(claims: Mapping[str, Any], settings: OidcSettings, now: float) -> Caller:
    """Return who asks; `now` is in seconds since the epoch. Raises ClaimError for a token that does not hold."""
    if claims.get("iss") != settings.issuer:
        raise ClaimError("another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not any(one in settings.audiences for one in audiences if isinstance(one, str)):
        raise ClaimError("another audience")
    _check_times(claims, settings.leeway_s, now)
    user = _claim(claims, settings.user_claim)
    if not isinstance(user, str) or not 0 < len(user) <= _LONGEST_USER or not user.isprintable():
        raise ClaimError(f"no user in the claim {settings.user_claim!r}")
    tenant = settings.tenant if settings.tenant is not None else _claim(claims, settings.tenant_claim)
    if not isinstance(tenant, str) or not is_tenant(tenant):
        raise ClaimError(f"no tenant in the claim {settings.tenant_claim!r}")
    words = _claim(claims, settings.roles_claim)
    words = words.split() if isinstance(words, str) else words if isinstance(words, list) else []
    roles = frozenset(settings.roles[word] for word in words if isinstance(word, str) and word in settings.roles)
    return Caller(tenant=tenant, key_id=f"oidc:{user}", roles=roles, user=user)


def _check_times(claims: Mapping[str, Any], leeway_s: float, now: float) -> None:
    """Check `exp`, which is required, `nbf` and `iat` (RFC 7519, section 4.1)."""
    ends = _time(claims, "exp")
    if ends is None:
        raise ClaimError("no `exp`: it would hold for ever")
    if now >= ends + leeway_s:
        raise ClaimError("expired")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and now < begins - leeway_s:
            raise ClaimError(f"not yet valid by its `{name}`")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimError(f"`{name}` is no number")
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ClaimError(f"`{name}` is no time")
    return value


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its whole name, which may be a URL with dots, else by the steps between dots."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
