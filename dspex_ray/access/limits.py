"""`Limits`: how much one key, or all callers of one tenant, may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from dspex_ray.errors import ConfigurationError

_MOST: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps; None is no cap. A UTC day is the period of `usd_per_day`.

    `requests_per_second` is what may go on for ever, `burst` how many requests may come at once after a pause (by
    default a second's worth, at least one). Raises ConfigurationError with all that is wrong.
    """

    requests_per_second: float | None = None
    burst: int | None = None
    concurrent_requests: int | None = None
    usd_per_day: float | None = None

    def __post_init__(self) -> None:
        if wrong := [*self._wrong()]:
            raise ConfigurationError(f"Limits: {'; '.join(wrong)}.")

    def _wrong(self) -> list[str]:
        wrong = []
        for name in ("requests_per_second", "usd_per_day"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and math.isfinite(value) and 0 < value <= _MOST):
                wrong.append(f"{name} must be a number above 0 and at most {_MOST:.0e}, got {value!r}")
        for name in ("burst", "concurrent_requests"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST):
                wrong.append(f"{name} must be a whole number from 1 to {_MOST:.0e}, got {value!r}")
        if self.burst is not None and self.requests_per_second is None:
            wrong.append("burst needs requests_per_second")
        return wrong

    @property
    def most_at_once(self) -> float:
        """How many requests the rate lets through at once."""
        if self.burst is not None:
            return float(self.burst)
        return max(1.0, self.requests_per_second or 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return the caps that are set."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Limits:
        """Return the limits that `to_json` told."""
        return cls(**given)


NO_LIMITS: Final = Limits()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
