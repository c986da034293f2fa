"""An OpenID Connect provider over real HTTP: publishes keys, signs tokens, and can fail in the ways providers do."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_FAMILIES: dict[str, Any] = {
    "RS": jwt.algorithms.RSAAlgorithm,
    "PS": jwt.algorithms.RSAAlgorithm,
    "ES": jwt.algorithms.ECAlgorithm,
    "Ed": jwt.algorithms.OKPAlgorithm,
}


class SigningKey:
    """A private key; `published` is what a key set says of it."""

    def __init__(self, key_id: str | None, algorithm: str = "ES256", bits: int = 2048) -> None:
        self.key_id, self.algorithm = key_id, algorithm
        self.private: Any = self._made(algorithm, bits)

    @staticmethod
    def _made(algorithm: str, bits: int) -> Any:
        curves: dict[str, ec.EllipticCurve] = {
            "ES256": ec.SECP256R1(),
            "ES384": ec.SECP384R1(),
            "ES512": ec.SECP521R1(),
        }
        if algorithm in curves:
            return ec.generate_private_key(curves[algorithm])
        if algorithm == "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        return rsa.generate_private_key(65_537, bits)

    def published(self, **more: Any) -> dict[str, Any]:
        told = _FAMILIES[self.algorithm[:2]].to_jwk(self.private.public_key(), as_dict=True)
        told.pop("key_ops", None)
        named = {} if self.key_id is None else {"kid": self.key_id}
        return {**told, **named, "use": "sig", **more}

    def signed(self, claims: dict[str, Any], algorithm: str | None = None, **header: Any) -> str:
        named = {} if self.key_id is None else {"kid": self.key_id}
        return jwt.encode(claims, self.private, algorithm or self.algorithm, headers={**named, **header})


class TokenProvider:
    """Used as `async with`. `keys` is what it publishes from then on; `asked` counts fetches of the key set."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys: list[dict[str, Any]] = [key.published() for key in keys]
        self.asked = 0
        self.answer: web.Response | None = None
        self.told: dict[str, Any] = {}
        self.open, self.was_asked = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/jwks", self._jwks)
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        self._server = TestServer(app)
        await self._server.start_server()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.open.set()
        await self._server.close()

    @property
    def issuer(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    @property
    def jwks_url(self) -> str:
        return f"{self.issuer}/jwks"

    async def _jwks(self, _request: web.Request) -> web.Response:
        self.asked += 1
        self.was_asked.set()
        await self.open.wait()
        return self.answer if self.answer is not None else web.json_response({"keys": self.keys})

    async def _configuration(self, _request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.issuer, "jwks_uri": self.jwks_url, **self.told})
