"""What goes wrong at a simulated model server, and how long it takes: drawn from a seed or written in a script."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, cast, get_args

from dspex_ray.errors import ConfigurationError

Fault = Literal[
    "ok", "429", "500", "hang", "cut", "malformed", "no_choices", "slow", "wrong_usage", "filtered", "withheld"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Shares of requests, each 0 to 1 and together at most 1, that meet a fault.

    `hang` gives no answer until the client leaves, `cut` breaks the connection in the middle of the answer, `malformed`
    answers 200 with text that is no JSON, `no_choices` with JSON that is no completion (but for a stream), `slow` sends
    its answer in pieces over `slow_s` seconds, `wrong_usage` counts nonsense, `filtered` answers 400 `content_filter`,
    `withheld` answers without any text and counts the tokens of the prompt. `retry_after_s` goes with each 429; None
    sends none.
    """

    rate_429: float = 0.0
    rate_500: float = 0.0
    rate_hang: float = 0.0
    rate_cut: float = 0.0
    rate_malformed: float = 0.0
    rate_no_choices: float = 0.0
    rate_slow: float = 0.0
    rate_wrong_usage: float = 0.0
    rate_filtered: float = 0.0
    rate_withheld: float = 0.0
    retry_after_s: float | None = 1.0
    slow_s: float = 0.5

    def __post_init__(self) -> None:
        for name, rate in self._rates():
            if not 0.0 <= rate <= 1.0:
                msg = f"rate_{name} is {rate}; a rate lies between 0 and 1"
                raise ConfigurationError(msg)
        if sum(rate for _, rate in self._rates()) > 1.0 + 1e-9:
            msg = "the fault rates add up to more than 1"
            raise ConfigurationError(msg)

    def draw(self, rng: random.Random) -> Fault:
        """Return the fault of one request."""
        point = rng.random()
        for name, rate in self._rates():
            point -= rate
            if point < 0.0:
                return checked_fault(name)
        return "ok"

    def _rates(self) -> list[tuple[str, float]]:
        names = [f.name for f in fields(self) if f.name.startswith("rate_")]
        return [(name.removeprefix("rate_"), getattr(self, name)) for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormalLatency:
    """Latencies whose logarithm is normal: half lie below `median_s`; one in 20 above it times exp(1.64 sigma)."""

    median_s: float
    sigma: float = 0.5

    def __post_init__(self) -> None:
        if self.median_s <= 0 or self.sigma < 0:
            msg = f"median_s {self.median_s} must be above 0 and sigma {self.sigma} at least 0"
            raise ConfigurationError(msg)

    def draw(self, rng: random.Random) -> float:
        """Return the seconds one answer takes."""
        return self.median_s * math.exp(rng.gauss(0.0, self.sigma))


class Weather:
    """The fault and the latency of request number n: a function of the seed and n alone, whatever runs at once.

    The first requests take their fault from `script`, the others from `faults`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency: float | LogNormalLatency = 0.0,
        faults: Faults | None = None,
        script: Sequence[str] = (),
    ) -> None:
        self._seed = seed
        self._latency = latency
        self.faults = faults or Faults()
        self._script: tuple[Fault, ...] = tuple(checked_fault(name) for name in script)

    def of(self, number: int) -> tuple[Fault, float]:
        """Return the fault and the latency in seconds of request `number`, counted from 0."""
        rng = random.Random(f"{self._seed}:{number}")  # noqa: S311 - simulation, not secrecy
        drawn = self.faults.draw(rng)
        fault = self._script[number] if number < len(self._script) else drawn
        latency_s = self._latency.draw(rng) if isinstance(self._latency, LogNormalLatency) else self._latency
        return fault, latency_s


def checked_fault(name: str) -> Fault:
    """Return `name` as a fault. Raises ConfigurationError for any other word."""
    if name in get_args(Fault):
        return cast("Fault", name)
    msg = f"unknown fault {name!r}; known: {', '.join(get_args(Fault))}"
    raise ConfigurationError(msg)
