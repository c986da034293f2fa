"""Amounts of what budgets bound: US dollars, model calls and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_TOLERANCE_USD: Final = 1e-9
"""Sums of prices differ in their last digits with the order of the calls."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """What calls took or may take. Adds and subtracts part by part."""

    usd: float = 0.0
    calls: int = 0
    tokens: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.usd + other.usd, self.calls + other.calls, self.tokens + other.tokens)

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(self.usd - other.usd, self.calls - other.calls, self.tokens - other.tokens)

    def most(self, other: Amounts) -> Amounts:
        """Return the larger of each part."""
        return Amounts(max(self.usd, other.usd), max(self.calls, other.calls), max(self.tokens, other.tokens))

    def least(self, other: Amounts) -> Amounts:
        """Return the smaller of each part."""
        return Amounts(min(self.usd, other.usd), min(self.calls, other.calls), min(self.tokens, other.tokens))

    def over(self, divisor: int) -> Amounts:
        """Return this part of each, whole calls and tokens rounded down."""
        return Amounts(self.usd / divisor, self.calls // divisor, self.tokens // divisor)

    def times(self, factor: int) -> Amounts:
        """Return so many times each."""
        return Amounts(self.usd * factor, self.calls * factor, self.tokens * factor)

    def fits(self, room: Amounts) -> bool:
        """Whether no part is above that of `room`."""
        return self.usd <= room.usd + _TOLERANCE_USD and self.calls <= room.calls and self.tokens <= room.tokens


NOTHING: Final = Amounts()
