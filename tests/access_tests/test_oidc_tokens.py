"""Bearer tokens against a provider over real HTTP: which are taken, and how often it is asked for its keys."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from token_provider import SigningKey, TokenProvider

from dspex_agents.clock import ManualClock
from dspex_ray.access.gate import KeyGate
from dspex_ray.access.key_ring import KeyRing
from dspex_ray.access.limits import Limits
from dspex_ray.access.oidc import MOST_PROVED, OidcTokens
from dspex_ray.access.oidc_settings import OidcSettings
from dspex_ray.access.tokens import Tokens, oidc_tokens
from dspex_ray.errors import ConfigurationError
from dspex_ray.serving.contract import Caller, RequestHead
from dspex_ray.serving.problem import Problem

NOW = 1_000_000.0
KEY, OTHER = SigningKey("k1"), SigningKey("k2")
RSA = SigningKey("r1", "RS256")
SEVERAL = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")


class Scene:
    """A provider, what verifies its tokens, and their clock."""

    def __init__(self, provider: TokenProvider, tokens: OidcTokens, clock: ManualClock) -> None:
        self.provider, self.tokens, self.clock = provider, tokens, clock

    def claims(self, **changes: Any) -> dict[str, Any]:
        told = {
            "iss": self.provider.issuer,
            "aud": "dspex",
            "sub": "ann",
            "tenant": "acme",
            "roles": ["invoke"],
            "iat": NOW,
            "exp": NOW + 300,
        }
        return {name: value for name, value in {**told, **changes}.items() if value is not ...}

    async def asked(self, token: str) -> Caller | Problem:
        return await self.tokens.caller(token)

    async def status(self, token: str) -> int:
        found = await self.asked(token)
        return found.status if isinstance(found, Problem) else 200


def play(act: Callable[[Scene], Awaitable[None]], *keys: SigningKey, **settings: Any) -> None:
    async def run() -> None:
        clock = ManualClock(NOW)
        async with TokenProvider(*(keys or (KEY,))) as provider:
            given = {"issuer": provider.issuer, "audiences": ("dspex",), "jwks_url": provider.jwks_url, **settings}
            tokens = OidcTokens(OidcSettings(**given), clock=clock)
            try:
                await act(Scene(provider, tokens, clock))
            finally:
                await tokens.aclose()

    asyncio.run(run())


def unsigned(head: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (head, claims))
    return ".".join((*parts, signature))


class TestWhatIsTaken:
    def test_a_token_says_who_asks_for_whom_and_what_for(self) -> None:
        async def act(scene: Scene) -> None:
            found = await scene.asked(KEY.signed(scene.claims(roles=["invoke", "feedback", "owner", 7])))
            roles = frozenset({"invoke", "feedback"})
            assert found == Caller(tenant="acme", key_id="oidc:ann", roles=roles, user="ann")

        play(act)

    @pytest.mark.parametrize("algorithm", SEVERAL)
    def test_every_allowed_algorithm_verifies(self, algorithm: str) -> None:
        key = RSA if algorithm == "RS256" else SigningKey("a", algorithm)

        async def act(scene: Scene) -> None:
            assert await scene.status(key.signed(scene.claims())) == 200

        play(act, key, algorithms=(algorithm,))

    def test_claims_are_mapped_as_the_settings_say(self) -> None:
        async def act(scene: Scene) -> None:
            nested = {"realm_access": {"roles": ["ops"]}, "https://x.example/tenant": "beta", "email": "a@x.example"}
            found = await scene.asked(KEY.signed(scene.claims(**nested, roles=["invoke"])))
            assert found == Caller(
                tenant="beta", key_id="oidc:a@x.example", roles=frozenset({"manage"}), user="a@x.example"
            )

        settings = {"tenant_claim": "https://x.example/tenant", "user_claim": "email", "roles": {"ops": "manage"}}
        play(act, roles_claim="realm_access.roles", **settings)

    def test_roles_may_be_words_in_a_text_and_the_tenant_that_of_the_provider(self) -> None:
        async def act(scene: Scene) -> None:
            found = await scene.asked(KEY.signed(scene.claims(scope="openid invoke  audit", tenant="evil")))
            assert isinstance(found, Caller)
            assert (found.tenant, found.roles) == ("acme", {"invoke", "audit"})

        play(act, roles_claim="scope", tenant="acme")

    def test_one_of_several_audiences_is_enough(self) -> None:
        async def act(scene: Scene) -> None:
            assert await scene.status(KEY.signed(scene.claims(aud=["other", "dspex"]))) == 200

        play(act)

    def test_the_keys_are_found_by_discovery(self) -> None:
        async def act(scene: Scene) -> None:
            assert await scene.status(KEY.signed(scene.claims())) == 200

        play(act, jwks_url=None)

    def test_a_token_without_a_key_id_is_taken_where_there_is_one_key_alone(self) -> None:
        unnamed = SigningKey(None)

        async def alone(scene: Scene) -> None:
            assert await scene.status(unnamed.signed(scene.claims())) == 200

        async def beside_another(scene: Scene) -> None:
            assert await scene.status(unnamed.signed(scene.claims())) == 401

        play(alone, unnamed)
        play(beside_another, unnamed, KEY)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "https://evil.example"},
            {"iss": ...},
            {"aud": "other"},
            {"aud": ["other", 7, None]},
            {"aud": ...},
            {"aud": {"dspex": True}},
            {"exp": ...},
            {"exp": "1000300"},
            {"exp": True},
            {"exp": float("inf")},
            {"exp": float("nan")},
            {"exp": NOW - 61},
            {"nbf": NOW + 61},
            {"nbf": "soon"},
            {"iat": NOW + 61},
            {"sub": ...},
            {"sub": 7},
            {"sub": ""},
            {"sub": "ann\nbob"},
            {"sub": "x" * 256},
            {"tenant": ...},
            {"tenant": ["acme"]},
            {"tenant": "a/b"},
        ],
    )
    def test_a_well_signed_token_whose_claims_do_not_hold(self, changes: dict[str, Any]) -> None:
        async def act(scene: Scene) -> None:
            assert await scene.status(KEY.signed(scene.claims(**changes))) == 401
            assert await scene.status(KEY.signed(scene.claims())) == 200

        play(act)

    @given(skew=st.integers(-400, 400), leeway=st.integers(0, 100))
    def test_clocks_may_differ_by_the_leeway_and_no_more(self, skew: int, leeway: int) -> None:
        async def act(scene: Scene) -> None:
            told = scene.claims(nbf=NOW + skew, iat=NOW + skew, exp=NOW + skew + 100)
            holds = skew <= leeway and NOW + skew + 100 + leeway > NOW
            assert (await scene.status(KEY.signed(told)) == 200) == holds

        play(act, leeway_s=leeway)

    def test_a_token_signed_by_another_key_of_the_same_name(self) -> None:
        async def act(scene: Scene) -> None:
            assert await scene.status(SigningKey("k1").signed(scene.claims())) == 401

        play(act)

    def test_a_token_changed_after_it_was_signed(self) -> None:
        async def act(scene: Scene) -> None:
            head, claims, signature = KEY.signed(scene.claims()).split(".")
            forged = unsigned({}, scene.claims(roles=["manage"])).split(".")[1]
            assert await scene.status(f"{head}.{forged}.{signature}") == 401
            assert await scene.status(f"{head}.{claims}.") == 401
            assert await scene.status(f"{head}.{claims}.{signature[:-8]}AAAAAAAA") == 401

        play(act)

    @pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, ["ES256"], "HS256", "RS256", "es256"])
    def test_a_token_that_names_an_algorithm_that_is_not_allowed(self, algorithm: Any) -> None:
        async def act(scene: Scene) -> None:
            signature = KEY.signed(scene.claims()).rpartition(".")[2]
            for last in ("", signature):
                assert await scene.status(unsigned({"alg": algorithm, "kid": "k1"}, scene.claims(), last)) == 401

        play(act, algorithms=("ES256",))

    def test_a_public_key_is_no_shared_secret(self) -> None:
        public = json.dumps(RSA.published()).encode()

        async def act(scene: Scene) -> None:
            made = unsigned({"alg": "HS256", "kid": "r1"}, scene.claims()).rpartition(".")[0].encode()
            signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(made, public)
            told = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
            assert await scene.status(f"{made.decode()}.{told}") == 401

        play(act, RSA)

    def test_a_secret_in_the_key_set_proves_nothing(self) -> None:
        async def act(scene: Scene) -> None:
            secret = base64.urlsafe_b64encode(b"s" * 32).rstrip(b"=").decode()
            scene.provider.keys.append({"kty": "oct", "k": secret, "kid": "s", "alg": "HS256"})
            assert await scene.status(jwt.encode(scene.claims(), b"s" * 32, "HS256", headers={"kid": "s"})) == 401

        play(act)

    @pytest.mark.parametrize("more", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "RS512"}, {"crv": "P-384"}])
    def test_a_key_for_another_use_proves_nothing(self, more: dict[str, Any]) -> None:
        async def act(scene: Scene) -> None:
            scene.provider.keys.append(OTHER.published(**more))
            assert await scene.status(OTHER.signed(scene.claims())) == 401

        play(act)

    def test_an_rsa_key_that_is_too_short_proves_nothing(self) -> None:
        short = SigningKey("short", "RS256", bits=1024)

        async def act(scene: Scene) -> None:
            with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
                token = short.signed(scene.claims())
            assert await scene.status(token) == 401

        play(act, short)

    def test_a_critical_header_that_is_not_known(self) -> None:
        async def act(scene: Scene) -> None:
            assert await scene.status(KEY.signed(scene.claims(), crit=["x"], x=1)) == 401

        play(act)

    def test_claims_that_are_no_object(self) -> None:
        async def act(scene: Scene) -> None:
            for payload in (b"[]", b"7", b"{", b"\xff", b"[" * 50_000):
                token = jwt.PyJWS().encode(payload, KEY.private, "ES256", headers={"kid": "k1"})
                assert await scene.status(token) == 401

        play(act)

    @given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_=-]{0,20}(\.[A-Za-z0-9_=-]{0,20}){0,3}", fullmatch=True))
    def test_whatever_is_no_token(self, text: str) -> None:
        async def act(scene: Scene) -> None:
            assert await scene.status(text) == 401
            assert scene.provider.asked == 0

        play(act)

    def test_the_log_says_why_and_nothing_of_the_token(self, caplog: pytest.LogCaptureFixture) -> None:
        async def act(scene: Scene) -> None:
            token = KEY.signed(scene.claims(exp=NOW - 100))
            with caplog.at_level(logging.INFO, "dspex_ray"):
                await scene.asked(token)
            assert "a bearer token is refused: expired" in caplog.text
            assert not any(part in caplog.text for part in (*token.split("."), "ann", "acme"))

        play(act)


class TestKeysOfTheProvider:
    def test_they_are_fetched_once_for_many_requests_at_once(self) -> None:
        async def act(scene: Scene) -> None:
            token = KEY.signed(scene.claims())
            found = await asyncio.gather(*(scene.status(token) for _ in range(50)))
            assert set(found) == {200}
            assert [await scene.status(token) for _ in range(20)] == [200] * 20
            assert scene.provider.asked == 1

        play(act)

    def test_a_new_key_is_fetched_when_a_token_names_it(self) -> None:
        async def act(scene: Scene) -> None:
            assert await scene.status(KEY.signed(scene.claims())) == 200
            scene.provider.keys.append(OTHER.published())
            scene.clock.advance(31)
            assert await scene.status(OTHER.signed(scene.claims())) == 200
            assert scene.provider.asked == 2

        play(act)

    def test_unknown_key_ids_cause_one_fetch_a_floor_however_many_come(self) -> None:
        async def act(scene: Scene) -> None:
            for _ in range(3):
                for n in range(30):
                    assert await scene.status(SigningKey(f"x{n}").signed(scene.claims())) == 401
                scene.clock.advance(30)
            assert scene.provider.asked == 3

        play(act)

    def test_a_key_that_is_taken_back_proves_nothing_once_the_set_is_old(self) -> None:
        async def act(scene: Scene) -> None:
            token = KEY.signed(scene.claims(exp=NOW + 9_000))
            assert await scene.status(token) == 200
            scene.provider.keys = [OTHER.published()]
            scene.clock.advance(3_601)
            assert await scene.status(token) == 200  # answered at once, while the set is fetched
            assert scene.tokens._source._refresh is not None
            await scene.tokens._source._refresh
            assert await scene.status(token) == 401

        play(act)

    @pytest.mark.parametrize(
        "answer",
        [
            {"status": 500},
            {"text": "no JSON"},
            {"text": "[]"},
            {"text": "{}"},
            {"text": '{"keys": [7, {"kty": "EC"}, {"kty": "EC", "crv": "P-256", "x": "!", "y": 7}]}'},
            {"text": "[" * 100_000},
            {"text": " " * 300_000 + "{}"},
            {"status": 302, "headers": {"location": "/elsewhere"}},
        ],
    )
    def test_a_provider_that_fails_is_told_of_and_asked_again_after_the_floor(self, answer: dict[str, Any]) -> None:
        async def act(scene: Scene) -> None:
            scene.provider.answer = web.Response(**answer)
            token = KEY.signed(scene.claims())
            found = await scene.asked(token)
            assert isinstance(found, Problem)
            assert (found.status, found.code) == (503, "identity-provider-unreachable")
            assert await scene.status(token) == 503
            assert scene.provider.asked == 1
            scene.provider.answer = None
            scene.clock.advance(30)
            assert await scene.status(token) == 200

        play(act)

    def test_a_provider_that_hangs_is_given_up_after_the_timeout(self) -> None:
        async def act(scene: Scene) -> None:
            scene.provider.open.clear()
            assert await scene.status(KEY.signed(scene.claims())) == 503

        play(act, timeout_s=0.2)

    def test_known_keys_go_on_while_the_provider_is_gone_but_not_for_ever(self) -> None:
        async def act(scene: Scene) -> None:
            token = KEY.signed(scene.claims(exp=NOW + 1e6))
            assert await scene.status(token) == 200
            scene.provider.answer = web.Response(status=500)
            scene.clock.advance(86_000)
            assert await scene.status(token) == 200
            scene.clock.advance(500)
            assert await scene.status(token) == 503

        play(act)

    def test_who_stops_waiting_does_not_stop_the_fetch_of_others(self) -> None:
        async def act(scene: Scene) -> None:
            scene.provider.open.clear()
            token = KEY.signed(scene.claims())
            leaves, stays = (asyncio.create_task(scene.status(token)) for _ in range(2))
            await asyncio.wait_for(scene.provider.was_asked.wait(), 10)
            leaves.cancel()
            await asyncio.sleep(0)
            scene.provider.open.set()
            assert await stays == 200

        play(act)

    @pytest.mark.parametrize(
        "told", [{"issuer": "https://other.example"}, {"jwks_uri": "http://other.example/k"}, {"jwks_uri": 7}]
    )
    def test_a_discovery_document_that_leads_astray_is_not_followed(self, told: dict[str, Any]) -> None:
        async def act(scene: Scene) -> None:
            scene.provider.told = told
            assert await scene.status(KEY.signed(scene.claims())) == 503

        play(act, jwks_url=None)


class TestRememberedSignatures:
    def test_a_token_taken_before_is_refused_once_it_is_expired(self) -> None:
        async def act(scene: Scene) -> None:
            token = KEY.signed(scene.claims())
            assert [await scene.status(token) for _ in range(2)] == [200, 200]
            scene.clock.advance(360)
            assert await scene.status(token) == 401

        play(act)

    def test_a_token_that_differs_in_its_signature_alone_is_verified_anew(self) -> None:
        async def act(scene: Scene) -> None:
            token = KEY.signed(scene.claims())
            assert await scene.status(token) == 200
            assert await scene.status(f"{token[:-8]}AAAAAAAA") == 401
            assert await scene.status(token) == 200

        play(act)

    def test_no_more_are_remembered_than_the_bound(self) -> None:
        async def act(scene: Scene) -> None:
            for n in range(MOST_PROVED + 20):
                assert await scene.status(KEY.signed(scene.claims(jti=str(n)))) == 200
            assert len(scene.tokens._proved) == MOST_PROVED

        play(act)


class TestAtTheGate:
    def test_a_token_is_let_in_by_role_tenant_and_the_tenants_limits(self) -> None:
        async def act(scene: Scene) -> None:
            ring = KeyRing([], {"acme": Limits(concurrent_requests=1)})
            gate = KeyGate("route", ring, owner="acme", tokens=scene.tokens, clock=scene.clock)

            async def status(path: str = "/", **claims: Any) -> int:
                written = f"Bearer {KEY.signed(scene.claims(**claims))}"
                found = await gate.admit(RequestHead(method="POST", path=path, headers={"authorization": written}))
                return found.status if isinstance(found, Problem) else 200

            assert await status(path="/traffic") == 403
            assert await status(roles=[]) == 403
            assert await status(tenant="other") == 404
            assert await status(exp=NOW - 100) == 401
            assert await status() == 200
            assert await status() == 429

        play(act)


class TestSettings:
    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        wrong: Any = {"algorithms": ("HS256", "ES265"), "leeway_s": 601, "timeout_s": 0, "roles": {"x": "owner"}}
        with pytest.raises(ConfigurationError) as caught:
            OidcSettings(issuer="http://id.example", audiences=(), tenant="a b", **wrong)
        for said in (
            "issuer must be https",
            "audiences must name",
            "algorithm 'HS256' is none of",
            "(did you mean 'ES256'?)",
            "leeway_s must be from 0 to 600",
            "timeout_s must be above 0",
            "'x' stands for 'owner'",
            "'a b' is no name of a tenant",
        ):
            assert said in str(caught.value)

    @pytest.mark.parametrize("url", ["", "id.example", "ftp://id.example", "https://", "https://x:port", "http://[::1"])
    def test_an_address_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="issuer"):
            OidcSettings(issuer=url, audiences=("a",))

    def test_what_verifies_is_made_without_a_request(self) -> None:
        settings = OidcSettings(issuer="https://id.example", audiences=("a",))
        made: Tokens = oidc_tokens(settings)
        assert isinstance(made, OidcTokens)

    def test_without_the_library_it_is_told_how_to_install_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("oidc", "public_keys", "key_source"):
            monkeypatch.delitem(sys.modules, f"dspex_ray.access.{name}")
        monkeypatch.setitem(sys.modules, "jwt", None)
        with pytest.raises(ConfigurationError, match=r"need 'jwt': pip install 'dspex-ray\[oidc\]'"):
            oidc_tokens(OidcSettings(issuer="https://id.example", audiences=("a",)))
