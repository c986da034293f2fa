"""`Experiment`: versions of an endpoint that share its requests by weight, to learn which is better."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from dspex_ray.errors import ConfigurationError
from dspex_ray.experiments.metrics import METRICS
from dspex_ray.problems import near

Status = Literal["running", "stopped", "promoted"]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
_TOLERANCE: Final = 1e-6
_LEAST_ARMS, _MOST_ARMS = 2, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """`weights` has the share of each arm by its version; the first arm is the one that the others are compared with.

    All statements on it hold together with probability 1 - `alpha`. The unit of analysis is the user, with one value
    each, since a user's requests are answered by one version and are not independent; requests without a user are
    units of their own. With `by_request` each request is one: right where no request names a user. `revision` is the
    traffic plan's that deals the arms. Times are in seconds since the epoch. Raises ConfigurationError with all faults.
    """

    name: str
    endpoint: str
    weights: Mapping[str, float]
    metrics: tuple[str, ...] = tuple(METRICS)
    alpha: float = 0.05
    by_request: bool = False
    status: Status = "running"
    revision: int = 0
    started_at: float = 0.0
    ended_at: float | None = None
    promoted: str | None = None
    wrong: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if found := [*self.wrong, *_faults(self)]:
            raise ConfigurationError(f"The experiment cannot be: {'; '.join(found)}.")

    @property
    def arms(self) -> tuple[str, ...]:
        """The versions, the base first."""
        return tuple(self.weights)

    @property
    def base(self) -> str:
        """The version that the others are compared with."""
        return self.arms[0]

    @property
    def level(self) -> float:
        """The chance of error left to one comparison of two arms in one metric (Bonferroni's correction)."""
        return self.alpha / ((len(self.weights) - 1) * len(self.metrics))

    def over(self, status: Status, at: float, promoted: str | None = None) -> Experiment:
        """Return it as it is once it has ended; one that was stopped before keeps the time of that."""
        ended_at = at if self.ended_at is None else self.ended_at
        return replace(self, status=status, ended_at=ended_at, promoted=promoted)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "wrong"}
        return {**told, "weights": dict(self.weights), "metrics": list(self.metrics)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Experiment:
        """Return the experiment of `to_json`."""
        return cls(**{**given, "metrics": tuple(given["metrics"])})


def read_weights(text: str) -> dict[str, float]:
    """Return weights as written: `3=0.5,4=0.5`. Raises ConfigurationError, which names each part that is none."""
    found: dict[str, float] = {}
    wrong: list[str] = []
    for part in text.split(","):
        name, equals, weight = (one.strip() for one in part.partition("="))
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not (name and equals and math.isfinite(number)):
            wrong.append(f"{part.strip()!r} is no version=weight")
        elif name in found:
            wrong.append(f"{name!r} occurs twice")
        else:
            found[name] = number
    if wrong:
        raise ConfigurationError(f"Arms are written as 3=0.5,4=0.5: {'; '.join(wrong)}.")
    return found


def _faults(one: Experiment) -> Iterator[str]:
    if not _NAME.fullmatch(one.name):
        yield f"{one.name!r} is no name: up to 100 lower-case letters, digits, dots, dashes and underscores"
    if not _LEAST_ARMS <= len(one.weights) <= _MOST_ARMS:
        yield f"it has 2 to {_MOST_ARMS} arms, got {len(one.weights)}"
    for arm, weight in one.weights.items():
        if not (math.isfinite(weight) and 0 < weight < 1):
            yield f"the weight of {arm!r} is between 0 and 1, got {weight!r}"
    total = math.fsum(one.weights.values())
    if not abs(total - 1) <= _TOLERANCE:
        yield f"the weights sum to {total:g}, not to 1"
    if not one.metrics:
        yield "it has no metric"
    for metric in one.metrics:
        if metric not in METRICS:
            yield f"{metric!r} is no metric{near(metric, METRICS)}; known are {', '.join(METRICS)}"
    yield from (f"the metric {name!r} occurs twice" for name, count in Counter(one.metrics).items() if count > 1)
    if not 0 < one.alpha < 0.5:  # noqa: PLR2004 - a level of one half would be a coin
        yield f"alpha is between 0 and 0.5, got {one.alpha!r}"
