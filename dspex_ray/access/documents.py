"""Providers and limits as they stand in documents, such as a deployment's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dspex_ray.access.limits import Limits
from dspex_ray.access.oidc_settings import OidcSettings
from dspex_ray.errors import ConfigurationError
from dspex_ray.traffic.reading import Reading

_TEXTS: Final = ("issuer", "jwks_url", "tenant", "tenant_claim", "roles_claim", "user_claim")
_LISTS: Final = ("audiences", "algorithms")
_NUMBERS: Final = ("leeway_s", "timeout_s", "refetch_floor_s", "max_age_s", "most_stale_s")
_LIMITS: Final = ("requests_per_second", "burst", "concurrent_requests", "usd_per_day")


def read_oidc(given: Any, path: str = "oidc") -> OidcSettings:
    """Return the settings of a JSON object. Raises ConfigurationError with all that is wrong, by path.

    A value of null is that of a key that is left out.
    """
    reading = Reading()
    told = _present(reading.fields(given, path, (*_TEXTS, *_LISTS, "roles", *_NUMBERS), ("issuer", "audiences")))
    values: dict[str, Any] = {name: reading.text(told[name], f"{path}.{name}") for name in _TEXTS if name in told}
    values |= {name: _texts(reading, told[name], f"{path}.{name}") for name in _LISTS if name in told}
    values |= {name: reading.number(told[name], f"{path}.{name}") for name in _NUMBERS if name in told}
    if "roles" in told:
        values["roles"] = _words(reading, told["roles"], f"{path}.roles")
    _check(reading)
    return OidcSettings(**values)


def read_limits(given: Any, path: str = "limits") -> Limits:
    """Return the limits of a JSON object. Raises ConfigurationError with all that is wrong, by path."""
    reading = Reading()
    told = _present(reading.fields(given, path, _LIMITS))
    _check(reading)
    return Limits(**told)


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _texts(reading: Reading, given: Any, path: str) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, list):
        reading.wrong.append(f"{path} must be a text or a list of them")
        return ()
    return tuple(reading.text(one, f"{path}[{n}]") for n, one in enumerate(given))


def _words(reading: Reading, given: Any, path: str) -> dict[str, str]:
    if not isinstance(given, Mapping):
        reading.wrong.append(f"{path} must be an object of words and the roles they stand for")
        return {}
    return {str(word): reading.text(role, f"{path}.{word}") for word, role in given.items()}


def _check(reading: Reading) -> None:
    if reading.wrong:
        raise ConfigurationError(f"{'; '.join(reading.wrong)}.")
