"""When a sweep asks for no further trial. Rules combine: `NoImprovement(20) | TimeSpent(3600)`, `A & B`.

| rule                        | reached when                                                            | ends as    |
|-----------------------------|-------------------------------------------------------------------------|------------|
| `NoImprovement(trials)`     | so many trials in a row have changed neither the best nor the front     | `finished` |
| `ScoreReached(score)`       | the best trial has at least this score                                  | `finished` |
| `TrialsDone(trials)`        | so many trials were told                                                | `budget`   |
| `RowsDone(rows)`            | so many rows were evaluated                                             | `budget`   |
| `CallsSpent(calls)`         | so many model calls were made                                           | `budget`   |
| `CostSpent(usd)`            | so much money was spent, in US dollars                                  | `budget`   |
| `TimeSpent(seconds)`        | drivers have worked on it so long, over all resumptions, pauses left out | `budget`   |
| `any_of(a, b)`, `a | b`     | one of them is reached                                                  | as that one |
| `all_of(a, b)`, `a & b`     | all of them are reached                                                 | as theirs  |

Trials that are open by then are finished and told. In a reproducible sweep all but `TimeSpent` look only at trials
that were told, in order, so that the sweep ends at the same trial whatever the workers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from dspex_coordination.errors import SweepError, near_matches

End = Literal["finished", "budget"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a sweep stands. `best_score` is None as long as no validation trial has a score; times are seconds."""

    trials: int = 0
    since_improvement: int = 0
    best_score: float | None = None
    cost_usd: float = 0.0
    calls: int = 0
    rows: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a sweep asks for no more, in words, and the status that it ends in."""

    reason: str
    end: End


class StopRule(ABC):
    """Says when enough is enough. Rules are values: equal when their JSON is."""

    kind: ClassVar[str]

    @abstractmethod
    def reached(self, standing: Standing) -> Stop | None:
        """Return why to stop, or None to go on."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON, with its kind."""

    def __or__(self, other: StopRule) -> StopRule:
        return any_of(self, other)

    def __and__(self, other: StopRule) -> StopRule:
        return all_of(self, other)

    @staticmethod
    def from_json(data: Any) -> StopRule:
        """Rebuild from `to_json`. Raises SweepError for what is no rule."""
        kind = data.get("kind") if isinstance(data, Mapping) else None
        if kind in ("any", "all"):
            make = any_of if kind == "any" else all_of
            return make(*(StopRule.from_json(rule) for rule in data["rules"]))
        if kind not in _RULES:
            raise SweepError(f"No stop rule is {data!r}. {near_matches(str(kind), [*_RULES, 'any', 'all'])}")
        fields = {name: value for name, value in data.items() if name != "kind"}
        try:
            return _RULES[kind](**fields)
        except TypeError as error:
            raise SweepError(f"A stop rule {kind!r} cannot be made of {fields!r}: {error}.") from error


@dataclass(frozen=True)
class _Limit(StopRule):
    """A rule with one number above 0."""

    end: ClassVar[End] = "budget"

    def __post_init__(self) -> None:
        ((name, value),) = asdict(self).items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise SweepError(f"Stop rule {self.kind!r}: {name} must be a number above 0, got {value!r}.")

    def reached(self, standing: Standing) -> Stop | None:
        """Return why to stop, or None to go on."""
        ((name, limit),) = asdict(self).items()
        return Stop(f"{type(self).__name__}({name}={limit:g})", self.end) if self._is(standing) else None

    @abstractmethod
    def _is(self, standing: Standing) -> bool: ...

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON, with its kind."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class NoImprovement(_Limit):
    """So many trials in a row have changed neither the best nor the front."""

    kind: ClassVar[str] = "no_improvement"
    end: ClassVar[End] = "finished"
    trials: int

    def _is(self, standing: Standing) -> bool:
        return standing.since_improvement >= self.trials


@dataclass(frozen=True)
class ScoreReached(_Limit):
    """The best trial has at least this score."""

    kind: ClassVar[str] = "score"
    end: ClassVar[End] = "finished"
    score: float

    def __post_init__(self) -> None:
        if isinstance(self.score, bool) or not math.isfinite(self.score):
            raise SweepError(f"Stop rule {self.kind!r}: score must be a finite number, got {self.score!r}.")

    def _is(self, standing: Standing) -> bool:
        return standing.best_score is not None and standing.best_score >= self.score


@dataclass(frozen=True)
class TrialsDone(_Limit):
    """So many trials were told."""

    kind: ClassVar[str] = "trials"
    trials: int

    def _is(self, standing: Standing) -> bool:
        return standing.trials >= self.trials


@dataclass(frozen=True)
class RowsDone(_Limit):
    """So many rows were evaluated."""

    kind: ClassVar[str] = "rows"
    rows: int

    def _is(self, standing: Standing) -> bool:
        return standing.rows >= self.rows


@dataclass(frozen=True)
class CallsSpent(_Limit):
    """So many model calls were made."""

    kind: ClassVar[str] = "calls"
    calls: int

    def _is(self, standing: Standing) -> bool:
        return standing.calls >= self.calls


@dataclass(frozen=True)
class CostSpent(_Limit):
    """So much money was spent, in US dollars."""

    kind: ClassVar[str] = "cost"
    usd: float

    def _is(self, standing: Standing) -> bool:
        return standing.cost_usd >= self.usd


@dataclass(frozen=True)
class TimeSpent(_Limit):
    """Drivers have worked on the sweep for so many seconds."""

    kind: ClassVar[str] = "time"
    seconds: float

    def _is(self, standing: Standing) -> bool:
        return standing.seconds >= self.seconds


@dataclass(frozen=True)
class _Several(StopRule):
    rules: tuple[StopRule, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON, with its kind."""
        return {"kind": self.kind, "rules": [rule.to_json() for rule in self.rules]}


@dataclass(frozen=True)
class _AnyOf(_Several):
    kind: ClassVar[str] = "any"

    def reached(self, standing: Standing) -> Stop | None:
        """Return why to stop: the first that is reached."""
        return next((stop for rule in self.rules if (stop := rule.reached(standing)) is not None), None)


@dataclass(frozen=True)
class _AllOf(_Several):
    kind: ClassVar[str] = "all"

    def reached(self, standing: Standing) -> Stop | None:
        """Return why to stop: all of them."""
        stops = [rule.reached(standing) for rule in self.rules]
        reached = [stop for stop in stops if stop is not None]
        if len(reached) < len(stops):
            return None
        ends: set[End] = {stop.end for stop in reached}
        return Stop(" and ".join(stop.reason for stop in reached), "finished" if ends == {"finished"} else "budget")


def any_of(*rules: StopRule) -> StopRule:
    """Return the rule that is reached when one of these is. Raises SweepError without any."""
    return _AnyOf(_flat(_AnyOf, rules))


def all_of(*rules: StopRule) -> StopRule:
    """Return the rule that is reached when all of these are. Raises SweepError without any."""
    return _AllOf(_flat(_AllOf, rules))


def _flat(kind: type[_Several], rules: tuple[StopRule, ...]) -> tuple[StopRule, ...]:
    if not rules:
        raise SweepError("Stop rules are combined of at least one.")
    return tuple(part for rule in rules for part in (rule.rules if isinstance(rule, kind) else (rule,)))


_RULES: dict[str, type[_Limit]] = {
    rule.kind: rule for rule in (NoImprovement, ScoreReached, TrialsDone, RowsDone, CallsSpent, CostSpent, TimeSpent)
}
