"""Providers and limits in documents: read whole, or refused with all that is wrong, by path."""

from __future__ import annotations

from typing import Any

import pytest

from dspex_ray.access.documents import read_limits, read_oidc
from dspex_ray.access.limits import Limits
from dspex_ray.access.oidc_settings import OidcSettings
from dspex_ray.errors import ConfigurationError

ISSUER = "https://id.example"


def test_what_a_document_leaves_out_is_as_it_is_by_default() -> None:
    read = read_oidc({"issuer": ISSUER, "audiences": "dspex", "tenant": None})
    assert read == OidcSettings(issuer=ISSUER, audiences=("dspex",))


def test_every_setting_can_be_written() -> None:
    told: dict[str, Any] = {
        "issuer": ISSUER,
        "audiences": ["a", "b"],
        "jwks_url": f"{ISSUER}/keys",
        "algorithms": ["EdDSA"],
        "tenant": "acme",
        "tenant_claim": "t",
        "roles_claim": "realm_access.roles",
        "roles": {"ops": "manage"},
        "user_claim": "email",
        "leeway_s": 5,
        "timeout_s": 1.5,
        "refetch_floor_s": 10,
        "max_age_s": 100,
        "most_stale_s": 1000,
    }
    read = read_oidc(told)
    assert {name: getattr(read, name) for name in OidcSettings.__slots__} == {
        **told,
        "audiences": ("a", "b"),
        "algorithms": ("EdDSA",),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], ["oidc must be an object, got a list"]),
        (
            {"isuer": ISSUER, "audiences": 7, "leeway_s": "5", "roles": ["x"]},
            [
                "oidc has an unknown key 'isuer': did you mean 'issuer'?",
                "oidc needs 'issuer'",
                "oidc.audiences must be a text or a list of them",
                "oidc.leeway_s must be a number, got a text",
                "oidc.roles must be an object",
            ],
        ),
        ({"issuer": ISSUER, "audiences": ["a", 7]}, ["oidc.audiences[1] must be a text, got a number"]),
        (
            {"issuer": ISSUER, "audiences": [], "roles": {"x": "owner"}},
            ["audiences must name", "'x' stands for 'owner'"],
        ),
    ],
)
def test_all_that_is_wrong_with_a_provider_is_told_at_once(given: Any, said: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_oidc(given)
    assert all(one in str(caught.value) for one in said), caught.value


def test_limits_are_read_or_refused() -> None:
    assert read_limits({"requests_per_second": 2, "burst": None}) == Limits(requests_per_second=2)
    with pytest.raises(ConfigurationError, match="limits has an unknown key 'brust': did you mean 'burst'"):
        read_limits({"brust": 2})
    with pytest.raises(ConfigurationError, match="usd_per_day must be a number above 0"):
        read_limits({"usd_per_day": "5"})
