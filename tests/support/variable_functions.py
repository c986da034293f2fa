"""Functions and classes that variables of tests name by their import path."""

from __future__ import annotations

from typing import Protocol


class Summary(Protocol):
    """What an implementation must have."""

    def shorten(self, text: str) -> str:
        """Return less text."""
        ...

    def rank(self) -> int:
        """Return a number."""
        ...


class Plain:
    """Has it all."""

    def shorten(self, text: str) -> str:
        """Return the beginning."""
        return text[:3]

    def rank(self) -> int:
        """Return one."""
        return 1


class Half:
    """Lacks `rank`."""

    def shorten(self, text: str) -> str:
        """Return the end."""
        return text[-3:]


def price(calls: int, rate: float) -> float:
    """Return the product."""
    return calls * rate


def is_even(value: int) -> bool:
    """Return whether `value` is even."""
    return value % 2 == 0


def broken(calls: int) -> int:
    """Fail."""
    raise RuntimeError(f"no answer for {calls}")
