"""Identifiers, passed in: random ones for production, counted ones for tests."""

from __future__ import annotations

import itertools
import secrets
from typing import Protocol


class IdSource(Protocol):
    """Where fresh identifiers come from."""

    def new(self, prefix: str) -> str:
        """Return `<prefix>-<unique part>`."""
        ...


class RandomIds:
    """48 random bits a piece: unique across machines for any number of runs people make."""

    def new(self, prefix: str) -> str:
        """Return `<prefix>-<12 hex digits>`."""
        return f"{prefix}-{secrets.token_hex(6)}"


class CountingIds:
    """`a-1`, `a-2`, ...: the same in every run."""

    def __init__(self) -> None:
        self._counter = itertools.count(1)

    def new(self, prefix: str) -> str:
        """Return `<prefix>-<count>`."""
        return f"{prefix}-{next(self._counter)}"
