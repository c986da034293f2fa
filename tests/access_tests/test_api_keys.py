"""API keys: what proves one, when, and that nothing but its holder can tell the secret."""

from __future__ import annotations

import json
import logging
import pickle
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.access.key_ring import KeyRing
from dspex_ray.access.keys import ApiKey, KeyGrant, digest_of, id_of, issued, rotated
from dspex_ray.access.limits import Limits
from dspex_ray.access.roles import needed_role
from dspex_ray.errors import ConfigurationError

NOW = 1_000.0
times = st.floats(0, 1e6, allow_nan=False)


def found(written: str, *keys: ApiKey, now: float = NOW) -> str | None:
    key = KeyRing(keys).find(written, now)
    return None if key is None else key.id


def test_a_written_key_is_its_id_and_256_random_bits() -> None:
    one, other = issued(KeyGrant(), NOW), issued(KeyGrant(), NOW)
    assert re.fullmatch(r"dspex_[0-9a-f]{12}_[0-9a-f]{64}", one.written)
    assert id_of(one.written) == one.key.id
    assert one.written != other.written


def test_the_secret_is_in_no_repr_json_or_log(caplog: pytest.LogCaptureFixture) -> None:
    made = rotated(issued(KeyGrant(), NOW).key, NOW, 10.0)
    digest = digest_of(made.written)
    secret = made.written.rpartition("_")[2]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r %s", made, made.key, KeyRing([made.key]))
    told = repr(made) + str(made.key) + json.dumps(made.key.to_json(NOW)) + caplog.text
    assert secret not in told
    assert digest.hex() not in told
    assert repr(digest) not in told


def test_a_key_is_found_by_its_secret_alone() -> None:
    one, other = issued(KeyGrant(), NOW), issued(KeyGrant(), NOW)
    assert found(one.written, one.key, other.key) == one.key.id
    forged = f"dspex_{one.key.id}_{other.written.rpartition('_')[2]}"
    assert found(forged, one.key, other.key) is None
    assert found(one.written, other.key) is None


@given(st.one_of(st.text(max_size=120), st.from_regex(r"dspex_[0-9a-f]{12}_[0-9a-f]{64}\n?", fullmatch=True)))
def test_whatever_else_is_sent_finds_no_key(written: str) -> None:
    assert found(written, issued(KeyGrant(), NOW).key) is None


@given(st.integers(0, 84), st.characters())
def test_a_key_with_one_character_changed_finds_none(place: int, character: str) -> None:
    made = issued(KeyGrant(), NOW)
    place = min(place, len(made.written) - 1)
    changed = made.written[:place] + character + made.written[place + 1 :]
    assert (found(changed, made.key) is None) == (changed != made.written)


@given(lives=st.floats(0.1, 1e5), after=times)
def test_a_key_works_until_it_expires_and_not_from_then_on(lives: float, after: float) -> None:
    made = issued(KeyGrant(expires_at=NOW + lives), NOW)
    assert (found(made.written, made.key, now=NOW + after) is None) == (NOW + after >= NOW + lives)


def test_a_revoked_key_does_not_work() -> None:
    made = issued(KeyGrant(), NOW)
    revoked = replace(made.key, revoked_at=NOW)
    assert found(made.written, revoked) is None
    assert revoked.status(NOW) == "revoked"


class TestRotation:
    @given(overlap=st.floats(0, 1e5), after=times)
    def test_both_secrets_work_during_the_overlap_and_the_new_one_alone_after_it(
        self, overlap: float, after: float
    ) -> None:
        old = issued(KeyGrant(), NOW)
        new = rotated(old.key, NOW + 5, overlap)
        at = NOW + 5 + after
        assert found(new.written, new.key, now=at) == old.key.id
        assert (found(old.written, new.key, now=at) is not None) == (at < NOW + 5 + overlap)

    @given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=6))
    def test_a_later_rotation_never_lengthens_the_life_of_an_older_secret(
        self, steps: list[tuple[float, float]]
    ) -> None:
        made, now = issued(KeyGrant(), NOW), NOW
        ends: dict[bytes, float] = {}
        for wait, overlap in steps:
            now += wait
            made = rotated(made.key, now, overlap)
            for secret in made.key.secrets[:-1]:
                assert secret.ends_at is not None
                assert secret.ends_at <= ends.get(secret.digest, now + overlap)
                ends[secret.digest] = secret.ends_at
            assert made.key.secrets[-1].ends_at is None

    def test_ended_secrets_are_forgotten(self) -> None:
        made = issued(KeyGrant(), NOW)
        for step in range(1, 5):
            made = rotated(made.key, NOW + 10 * step, 5.0)
        assert len(made.key.secrets) == 2

    def test_a_revoked_or_expired_key_is_not_rotated(self) -> None:
        made = issued(KeyGrant(expires_at=NOW + 5), NOW)
        with pytest.raises(ConfigurationError, match="is expired; create another one"):
            rotated(made.key, NOW + 5, 1.0)
        with pytest.raises(ConfigurationError, match="is revoked"):
            rotated(replace(made.key, revoked_at=NOW), NOW, 1.0)

    @pytest.mark.parametrize("overlap", [-1.0, float("nan")])
    def test_an_overlap_below_zero_is_refused(self, overlap: float) -> None:
        with pytest.raises(ConfigurationError, match="0 seconds or more"):
            rotated(issued(KeyGrant(), NOW).key, NOW, overlap)


class TestGrants:
    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        wrong: Any = {
            "tenant": "a b",
            "roles": frozenset({"invoek"}),
            "endpoints": frozenset({"a/b"}),
            "note": "x" * 501,
        }
        with pytest.raises(ConfigurationError) as caught:
            KeyGrant(**wrong)
        for said in ("'a b'", "unknown role 'invoek' (did you mean 'invoke'?)", "'a/b' is no name", "501 characters"):
            assert said in str(caught.value)

    def test_a_key_that_could_do_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"needs a role.*may call no endpoint"):
            KeyGrant(roles=frozenset(), endpoints=frozenset())

    def test_a_key_that_is_expired_from_the_beginning_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="would expire before it begins"):
            issued(KeyGrant(expires_at=NOW), NOW)

    @pytest.mark.parametrize(
        ("limits", "said"),
        [
            ({"requests_per_second": 0}, "requests_per_second must be a number above 0"),
            ({"requests_per_second": float("nan")}, "requests_per_second must be a number above 0"),
            ({"requests_per_second": True}, "requests_per_second must be a number above 0"),
            ({"usd_per_day": float("inf")}, "usd_per_day must be a number above 0"),
            ({"concurrent_requests": 1.5}, "concurrent_requests must be a whole number"),
            ({"burst": 3}, "burst needs requests_per_second"),
        ],
    )
    def test_limits_that_cannot_hold_are_refused(self, limits: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            Limits(**limits)

    def test_limits_come_back_from_their_json(self) -> None:
        limits = Limits(requests_per_second=2.5, burst=4, usd_per_day=1.0)
        assert Limits.from_json(json.loads(json.dumps(limits.to_json()))) == limits


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("POST", "/", "invoke"),
        ("POST", "", "invoke"),
        ("POST", "/stream", "invoke"),
        ("POST", "/v1/chat/completions", "invoke"),
        ("POST", "/feedback", "feedback"),
        ("GET", "/audit", "audit"),
        ("GET", "/docs", None),
        ("POST", "/traffic", "manage"),
        ("DELETE", "/feedback", "manage"),
        ("DELETE", "/batch/7", "invoke"),
        ("GET", "/v1/models", "invoke"),
        ("POST", "/v1", "manage"),
        ("POST", "/v1/keys", "manage"),
        ("POST", "/what-somebody-added", "manage"),
        ("POST", "//stream", "invoke"),
    ],
)
def test_a_path_needs_its_role_and_an_unknown_one_that_of_management(method: str, path: str, role: str | None) -> None:
    assert needed_role(method, path) == role


def test_a_ring_crosses_processes_and_finds_the_same_keys() -> None:
    made = issued(KeyGrant(), NOW)
    ring = pickle.loads(pickle.dumps(KeyRing([made.key], {"acme": Limits(usd_per_day=1.0)})))
    assert ring.find(made.written, NOW) == made.key
    assert ring.limits_of("acme") == Limits(usd_per_day=1.0)
    assert ring.limits_of("other") == Limits()
