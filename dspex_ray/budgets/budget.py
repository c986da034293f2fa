"""`Budget`: a hard cap on what the calls of a tenant, program, run, agent or of all may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from dspex_ray.budgets.amounts import Amounts
from dspex_ray.errors import ConfigurationError

Scope = Literal["all", "tenant", "program", "run", "agent"]
Period = Literal["total", "day", "month"]
Unpriced = Literal["refuse", "allow"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
EVERYTHING: Final = "*"
"""The name of the one budget of scope `all`."""

_LONGEST_NAME: Final = 300
_NO_CAP: Final = 1 << 62
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the calls of one `scope` and `name` may take in all, or in each UTC day or month.

    A cap of None is none, one at least must be given. A call whose model has no known price could cost anything: under
    a cap in US dollars it is refused, unless `unpriced` allows it, and then it counts as 0. Raises ConfigurationError
    for whatever is wrong.
    """

    scope: Scope
    name: str = EVERYTHING
    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None
    period: Period = "total"
    unpriced: Unpriced = "refuse"

    def __post_init__(self) -> None:
        wrong = [*self._wrong_words(), *self._wrong_caps()]
        if wrong:
            raise ConfigurationError(f"Budget {self.key}: {'; '.join(wrong)}.")

    def _wrong_words(self) -> list[str]:
        wrong = [
            f"{name} must be one of {', '.join(known)}, got {value!r}"
            for name, value, known in (
                ("scope", self.scope, SCOPES),
                ("period", self.period, get_args(Period)),
                ("unpriced", self.unpriced, get_args(Unpriced)),
            )
            if value not in known
        ]
        if not 0 < len(self.name) <= _LONGEST_NAME:
            wrong.append(f"name must have 1 to {_LONGEST_NAME} characters, got {len(self.name)}")
        elif (self.scope == "all") != (self.name == EVERYTHING):
            wrong.append(f"scope `all` has the name {EVERYTHING!r}, and no other scope has, got {self.name!r}")
        return wrong

    def _wrong_caps(self) -> list[str]:
        wrong = []
        if self.usd is not None and not (_is_number(self.usd) and math.isfinite(self.usd) and self.usd > 0):
            wrong.append(f"usd must be above 0, got {self.usd!r}")
        for name in ("calls", "tokens"):
            cap = getattr(self, name)
            if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
                wrong.append(f"{name} must be a whole number of at least 1, got {cap!r}")
        if self.usd is None and self.calls is None and self.tokens is None:
            wrong.append("it caps nothing; give usd, calls or tokens")
        return wrong

    @property
    def key(self) -> str:
        """What names the budget in commands and errors, such as `tenant:acme`, or `all`."""
        return "all" if self.scope == "all" else f"{self.scope}:{self.name}"

    @property
    def limit(self) -> Amounts:
        """The caps as amounts; what is not capped is out of reach."""
        return Amounts(
            math.inf if self.usd is None else float(self.usd),
            _NO_CAP if self.calls is None else self.calls,
            _NO_CAP if self.tokens is None else self.tokens,
        )

    def window(self, at: float) -> float:
        """Return when the period that holds `at` began (both seconds since the epoch); 0 for `total`."""
        if self.period == "total":
            return 0.0
        begun = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return (begun if self.period == "day" else begun.replace(day=1)).timestamp()

    def window_end(self, window: float) -> float:
        """Return when the period that began at `window` ends."""
        if self.period == "total":
            return math.inf
        begun = datetime.fromtimestamp(window, UTC)
        if self.period == "day":
            return window + _DAY_S
        return begun.replace(year=begun.year + begun.month // 12, month=begun.month % 12 + 1).timestamp()

    def caps(self) -> str:
        """Return the caps in words, such as `$5.00 a day`."""
        told = [] if self.usd is None else [f"${self.usd:,.4g}" if self.usd < 1 else f"${self.usd:,.2f}"]
        counts = [(cap, name) for name in ("call", "token") if (cap := getattr(self, f"{name}s")) is not None]
        told += [f"{cap:,} {name}{'' if cap == 1 else 's'}" for cap, name in counts]
        return ", ".join(told) + ("" if self.period == "total" else f" a {self.period}")

    def to_json(self) -> dict[str, Any]:
        """Return the budget as a flat JSON object."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def named(key: str) -> tuple[Scope, str]:
    """Return the scope and name of a written budget, such as `program:shop:Route`, or `all`.

    Raises ConfigurationError for anything else.
    """
    scope, _, name = key.partition(":")
    if scope == "all" and name in ("", EVERYTHING):
        return "all", EVERYTHING
    for known in SCOPES:
        if scope == known and scope != "all" and name:
            return known, name
    raise ConfigurationError(
        f"{key!r} names no budget; write all, tenant:NAME, program:MODULE:CLASS, run:ID or agent:NAME."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
