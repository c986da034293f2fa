"""`Ramp`: a new version takes over step by step, and loses everything at once when it is surely worse.

A state machine without a clock: `advance(ramp, state, evidence, now)`.

| state         | on                                                              | becomes                          |
|---------------|-----------------------------------------------------------------|----------------------------------|
| `running`     | a guard broken                                                  | `rolled_back`, weight 0          |
| `running`     | the step held long enough, with enough requests, no guard broken | the next step, or `done`        |
| `running`     | anything else                                                   | the same                         |
| `running`     | another plan put in force by somebody else                      | `stopped` (by the caller)        |
| other states  | anything                                                        | the same: they are final         |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal

from dspex_ray.errors import ConfigurationError
from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.experiments.sequential import Difference, mean_difference, rate_difference
from dspex_ray.traffic.plan import TrafficPlan

Measure = Literal["errors", "latency_s", "cost_usd", "score"]
_MEASURES: Final = ("errors", "latency_s", "cost_usd", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class RampStep:
    """The new version's share from now on, how long at least in seconds, and how many of its requests at least."""

    weight: float
    hold_s: float
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What the new version must not be, compared with the old one in the same time.

    Broken as soon as it is sure, at any look, that the measure is worse by more than `margin`: `errors` is the share of
    requests that the version failed to answer, `latency_s` and `cost_usd` are relative (0.1 is a tenth more), `score`
    is what feedback gives and worse when lower. `alpha` is the chance that a version no worse is ever called so.
    """

    measure: Measure
    margin: float = 0.0
    alpha: float = 0.05


DEFAULT_STEPS = (
    RampStep(weight=0.01, hold_s=300.0, requests=50),
    RampStep(weight=0.1, hold_s=300.0, requests=200),
    RampStep(weight=0.5, hold_s=600.0, requests=200),
)
DEFAULT_GUARDS = (Guard(measure="errors", margin=0.01), Guard(measure="latency_s", margin=0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """From the arm `old` to the arm `new`, by steps, to everything. Raises ConfigurationError with all faults."""

    old: str
    new: str
    steps: tuple[RampStep, ...] = DEFAULT_STEPS
    guards: tuple[Guard, ...] = DEFAULT_GUARDS

    def __post_init__(self) -> None:
        if found := list(_faults(self)):
            raise ConfigurationError(f"The ramp cannot be: {'; '.join(found)}.")

    def plan(self, before: TrafficPlan, weight: float) -> TrafficPlan:
        """Return the plan in which the new arm has this share, and the old one what both had otherwise."""
        both = before.arm(self.old).weight + before.arm(self.new).weight
        return before.weighted({self.old: both * (1 - weight), self.new: both * weight})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Ramp:
        """Return the ramp of `to_json`."""
        steps = tuple(RampStep(**step) for step in given["steps"])
        guards = tuple(Guard(**guard) for guard in given["guards"])
        return cls(old=given["old"], new=given["new"], steps=steps, guards=guards)


@dataclass(frozen=True, slots=True, kw_only=True)
class RampState:
    """Where a ramp is: the number of its step, since when (seconds since the epoch), and why it ended."""

    status: Literal["running", "done", "rolled_back", "stopped"] = "running"
    step: int = 0
    since: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEvidence:
    """What is known of an arm since the ramp began. `answered` counts requests that its version could have answered.

    `measures` has the moments of `latency_s`, `cost_usd` and `score`, as far as they were measured.
    """

    answered: Counts = field(default_factory=Counts)
    measures: Mapping[str, Moments] = field(default_factory=dict)

    def __add__(self, other: ArmEvidence) -> ArmEvidence:
        names = dict.fromkeys([*self.measures, *other.measures])
        none = Moments()
        added = {name: self.measures.get(name, none) + other.measures.get(name, none) for name in names}
        return ArmEvidence(answered=self.answered + other.answered, measures=added)


def weight_of(ramp: Ramp, state: RampState) -> float:
    """Return the new version's share in this state."""
    if state.status == "rolled_back":
        return 0.0
    return 1.0 if state.status == "done" else ramp.steps[state.step].weight


def advance(ramp: Ramp, state: RampState, evidence: Mapping[str, ArmEvidence], now: float, since: int = 0) -> RampState:
    """Return the next state. `since` is how many requests the new arm had when the present step began."""
    if state.status != "running":
        return state
    old, new = (evidence.get(arm, ArmEvidence()) for arm in (ramp.old, ramp.new))
    broken = [reason for guard in ramp.guards if (reason := _broken(guard, old, new)) is not None]
    if broken:
        return replace(state, status="rolled_back", since=now, reason="; ".join(broken))
    step = ramp.steps[state.step]
    if now - state.since < step.hold_s or new.answered.trials - since < step.requests:
        return state
    if state.step + 1 == len(ramp.steps):
        return replace(state, status="done", since=now)
    return replace(state, step=state.step + 1, since=now)


def _broken(guard: Guard, old: ArmEvidence, new: ArmEvidence) -> str | None:
    """Return why the guard is broken, or None."""
    level = 2 * guard.alpha  # only one of the interval's ends matters
    if guard.measure == "errors":
        failed = [Counts(one.answered.failures, one.answered.trials) for one in (old, new)]
        found = rate_difference(failed[0], failed[1], alpha=level)
        return _told("the share of errors", found, 100, guard.margin, " points")
    first, second = (one.measures.get(guard.measure, Moments()) for one in (old, new))
    if guard.measure == "score":
        found = mean_difference(second, first, alpha=level)  # worse is lower
        return _told("the score", found, 100, guard.margin, " points lower")
    found = _relative(mean_difference(first, second, alpha=level), first.mean)
    return _told(guard.measure, found, 100, guard.margin, " %")


def _relative(found: Difference, base: float) -> Difference:
    if base <= 0:
        return Difference(math.nan, -math.inf, math.inf, found.alpha)
    return Difference(found.estimate / base, found.low / base, found.high / base, found.alpha)


def _told(what: str, found: Difference, scale: float, margin: float, unit: str) -> str | None:
    if not found.low > margin:
        return None
    return f"{what} is {scale * found.estimate:+.1f}{unit}, at least {scale * found.low:+.1f}"


def _faults(ramp: Ramp) -> Iterator[str]:
    if ramp.old == ramp.new:
        yield f"it leads from {ramp.old!r} to itself"
    if not ramp.steps:
        yield "it has no steps"
    for position, step in enumerate(ramp.steps):
        if not 0 < step.weight <= 1:
            yield f"the weight of step {position + 1} is above 0 and at most 1, got {step.weight!r}"
        if not (math.isfinite(step.hold_s) and step.hold_s >= 0) or step.requests < 0:
            given = f"{step.hold_s!r} and {step.requests!r}"
            yield f"step {position + 1} holds for 0 or more seconds and requests, got {given}"
    weights: Sequence[float] = [step.weight for step in ramp.steps]
    if any(later <= earlier for earlier, later in pairwise(weights)):
        yield f"each step has more weight than the one before, got {', '.join(f'{weight:g}' for weight in weights)}"
    for guard in ramp.guards:
        if guard.measure not in _MEASURES:
            yield f"a guard's measure is one of {', '.join(_MEASURES)}, got {guard.measure!r}"
        if not (math.isfinite(guard.margin) and guard.margin >= 0):
            yield f"the margin of guard {guard.measure!r} is 0 or more, got {guard.margin!r}"
        if not 0 < guard.alpha < 0.5:  # noqa: PLR2004 - a level of one half would be a coin
            yield f"the alpha of guard {guard.measure!r} is between 0 and 0.5, got {guard.alpha!r}"
