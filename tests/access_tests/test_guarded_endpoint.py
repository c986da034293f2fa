"""A whole endpoint behind the gate, with keys from a store: who is answered, and what all others are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_versions import Told, client_of
from token_provider import SigningKey, TokenProvider

from dspex_agents.clock import ManualClock
from dspex_ray.access.gate import KeyGate
from dspex_ray.access.key_book import KeyBook
from dspex_ray.access.keys import KeyGrant
from dspex_ray.access.limits import Limits
from dspex_ray.access.oidc import OidcTokens
from dspex_ray.access.oidc_settings import OidcSettings
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.store import open_store

NOW = 86_400.0


class Scene:
    """An endpoint, the book of its keys, and ways to ask it."""

    def __init__(self, folder: Path, **gate: Any) -> None:
        self.book, self.clock = KeyBook(open_store(str(folder / "store.db")).database), ManualClock(NOW)
        self.gate = KeyGate("shop", self.book.ring(), clock=self.clock, **gate)
        self.service = Told("3")
        self.client = client_of(VersionsRouter("3", self.service), gate=self.gate)

    def key(self, **grant: Any) -> tuple[str, str]:
        made = self.book.create(KeyGrant(**grant), by="ann", now=NOW)
        self.gate.replace(self.book.ring())
        return made.key.id, made.written

    async def asked(self, written: str, path: str = "/", **fields: Any) -> httpx.Response:
        return await self.client.post(path, json=fields, headers={"authorization": f"Bearer {written}"})


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    def run(act: Callable[[Scene], Awaitable[None]], **gate: Any) -> None:
        async def whole() -> None:
            scene = Scene(tmp_path, **gate)
            async with scene.client:
                await act(scene)

        asyncio.run(whole())

    return run


Play = Callable[..., None]


def test_without_a_key_the_program_is_not_asked(play: Play) -> None:
    async def act(scene: Scene) -> None:
        answer = await scene.client.post("/", json={})
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == 'Bearer realm="dspex"'
        assert answer.json()["type"] == "urn:dspex:problem:unauthenticated"
        assert scene.service.asked == 0

    play(act)


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_a_key_is_answered_until_it_is_revoked(play: Play, path: str) -> None:
    async def act(scene: Scene) -> None:
        id_, written = scene.key()
        assert (await scene.asked(written, path)).status_code == 200
        scene.book.revoke(id_, by="ann", now=NOW)
        scene.gate.replace(scene.book.ring())
        assert (await scene.asked(written, path)).status_code == 401
        assert scene.service.asked == 1

    play(act)


def test_another_tenants_endpoint_looks_as_if_it_were_not_there(play: Play) -> None:
    async def act(scene: Scene) -> None:
        _, mine = scene.key(tenant="acme")
        _, theirs = scene.key(tenant="other")
        assert (await scene.asked(mine)).status_code == 200
        answer = await scene.asked(theirs)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:dspex:problem:not-found")
        assert "acme" not in answer.text

    play(act, owner="acme")


def test_no_request_fails_while_its_key_is_rotated_again_and_again(play: Play) -> None:
    async def act(scene: Scene) -> None:
        id_, written = scene.key()
        keys, seen, over = [written], [], asyncio.Event()

        async def ask() -> None:
            while not over.is_set():
                seen.append((await scene.asked(keys[-1])).status_code)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(ask())
            for _ in range(20):
                new = scene.book.rotate(id_, by="ann", now=scene.clock.now(), overlap_s=5.0)
                await asyncio.sleep(0)
                scene.gate.replace(scene.book.ring())
                keys.append(new.written)
                scene.clock.advance(1.0)
                await asyncio.sleep(0.002)
            over.set()
        assert set(seen) == {200}
        assert (await scene.asked(keys[0])).status_code == 401

    play(act)


def test_a_place_is_free_again_after_an_answer_a_failure_and_a_client_that_left(play: Play) -> None:
    async def act(scene: Scene) -> None:
        _, written = scene.key(limits=Limits(concurrent_requests=1))
        waits = asyncio.create_task(scene.asked(written, wait="3"))
        await asyncio.wait_for(scene.service.waiting.wait(), 10)
        refused = await scene.asked(written)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert (await scene.asked(written, fail="3")).status_code == 500
        assert [(await scene.asked(written)).status_code for _ in range(3)] == [200] * 3

    play(act)


def test_money_runs_out_and_comes_back_the_next_day(play: Play) -> None:
    async def act(scene: Scene) -> None:
        _, written = scene.key(limits=Limits(usd_per_day=0.002))
        answers = [await scene.asked(written) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 402]
        told = answers[2].json()
        assert (told["limit"], told["renews_at"]) == ("$0.002 a day", "1970-01-03T00:00:00+00:00")
        scene.clock.advance(86_400)
        assert (await scene.asked(written)).status_code == 200

    play(act)


def test_a_token_of_the_provider_is_answered_and_a_forged_one_is_not(tmp_path: Path) -> None:
    async def whole() -> None:
        key = SigningKey("k1")
        async with TokenProvider(key) as provider:
            settings = OidcSettings(issuer=provider.issuer, audiences=("dspex",), tenant="acme")
            tokens = OidcTokens(settings, clock=ManualClock(NOW))
            scene = Scene(tmp_path, tokens=tokens)
            claims = {"iss": provider.issuer, "aud": "dspex", "sub": "ann", "roles": "invoke", "exp": NOW + 60}
            async with scene.client:
                assert (await scene.asked(key.signed(claims))).status_code == 200
                assert (await scene.asked(SigningKey("k1").signed(claims))).status_code == 401
            await tokens.aclose()

    asyncio.run(whole())
