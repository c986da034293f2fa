"""`PublicKeys`: a provider's key set (RFC 7517), and the tokens that it proves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm

_MOST_KEYS: Final = 100
_KIND_OF: Final[dict[str, tuple[str, str | None]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
_SIGNATURES = jwt.PyJWS(algorithms=list(_KIND_OF), options={"enforce_minimum_key_length": True})


class SignatureError(Exception):
    """A token that cannot be taken; the message is for the log and quotes nothing of the token."""


@dataclass(frozen=True, slots=True)
class TokenHead:
    """Which key a token says it is signed with. Not proved: it decides only where to look."""

    key_id: str | None
    algorithm: str


def head_of(token: str, algorithms: Sequence[str]) -> TokenHead:
    """Return a token's head. Raises SignatureError for what is no token, or signed in a way that is not allowed."""
    try:
        header = _SIGNATURES.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError) as error:  # ValueError: text that is no UTF-8
        raise SignatureError(f"no token ({type(error).__name__})") from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise SignatureError("signed with an algorithm that is not allowed")
    return TokenHead(header.get("kid"), algorithm)


class PublicKeys:
    """Keys by id and algorithm. A key serves the algorithms of its own kind only: none can pass for a shared secret."""

    def __init__(self, document: Mapping[str, Any], algorithms: Sequence[str]) -> None:
        """Take the usable keys of a key set; what is of another kind or use, or unreadable, is passed over."""
        self._keys: dict[str, list[tuple[str | None, jwt.PyJWK]]] = {name: [] for name in algorithms}
        given = document.get("keys")
        for one in given[:_MOST_KEYS] if isinstance(given, list) else ():
            for algorithm in algorithms:
                if isinstance(one, dict) and _serves(one, algorithm) and (key := _key(one, algorithm)) is not None:
                    self._keys[algorithm].append((one.get("kid"), key))

    def __bool__(self) -> bool:
        return any(self._keys.values())

    def find(self, head: TokenHead) -> list[jwt.PyJWK]:
        """Return the keys a token may be signed with: those of its key id, or the only one if it names none."""
        known = self._keys.get(head.algorithm, [])
        if head.key_id is None:
            return [key for _, key in known] if len(known) == 1 else []
        return [key for id_, key in known if id_ == head.key_id]


def claims_of(token: str, head: TokenHead, keys: Sequence[jwt.PyJWK]) -> dict[str, Any]:
    """Return the claims of a token that one of the keys proves. Raises SignatureError for any other."""
    for key in keys:
        try:
            payload = _SIGNATURES.decode(token, key, algorithms=[head.algorithm])
        except jwt.PyJWTError:
            continue
        return _object(payload)
    raise SignatureError("no key of its provider proves it" if keys else "signed with a key that is not known")


def _object(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise SignatureError("its claims are no JSON") from None
    if not isinstance(claims, dict):
        raise SignatureError("its claims are no object")
    return claims


def _serves(given: Mapping[str, Any], algorithm: str) -> bool:
    kind, curve = _KIND_OF[algorithm]
    operations = given.get("key_ops")
    return (
        given.get("kty") == kind
        and (curve is None or given.get("crv") == curve)
        and given.get("alg") in (None, algorithm)
        and given.get("use") in (None, "sig")
        and (not isinstance(operations, list) or "verify" in operations)
    )


def _key(given: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    public = {name: value for name, value in given.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    try:
        return jwt.PyJWK.from_dict(public, algorithm)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        return None
