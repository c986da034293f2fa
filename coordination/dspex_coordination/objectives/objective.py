"""`Objective` and `Bound`: which measures of a trial are made large or small, and which must keep within a limit.

A *measure* is a named number of a trial, such as `score`, `cost_usd` and `latency_s` (means over its rows, the last two
in US dollars and seconds a row); `measures.py` lists them all. A metric may add measures of its own under other names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dspex_coordination.errors import OptimizerError, near_matches

Direction = Literal["maximize", "minimize"]

STANDARD = (
    *("score", "score_low", "score_high"),
    *("cost_usd", "latency_s", "latency_p95_s", "prompt_tokens", "reliability"),
)
"""The measures of every scored trial; a metric's own have other names. See `measures.py`."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Make the measure `name` large or small. `weight`, above 0, counts where several must become one number.

    Raises OptimizerError for a name, direction or weight that cannot be.
    """

    name: str
    direction: Direction = "maximize"
    weight: float = 1.0

    def __post_init__(self) -> None:
        name: Any = self.name
        if not isinstance(name, str) or not name:
            raise OptimizerError(f"An objective names a measure, such as 'score', got {name!r}.")
        if self.direction not in ("maximize", "minimize"):
            raise OptimizerError(
                f"Objective {self.name!r}: direction is 'maximize' or 'minimize', got {self.direction!r}."
            )
        if isinstance(self.weight, bool) or not math.isfinite(self.weight) or self.weight <= 0:
            raise OptimizerError(f"Objective {self.name!r}: weight must be a number above 0, got {self.weight!r}.")

    def gain(self, measures: Mapping[str, float]) -> float:
        """Return the measure signed so that larger is better. Raises OptimizerError for a trial without it."""
        value = measures.get(self.name)
        if value is None:
            raise OptimizerError(f"No measure {self.name!r} in this result. {near_matches(self.name, measures)}")
        return value if self.direction == "maximize" else -value

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that a result must keep to be feasible: `at_least` <= measure <= `at_most`; one of the two at least.

    Raises OptimizerError for a bound without a limit, or an empty range.
    """

    name: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        given = [limit for limit in (self.at_least, self.at_most) if limit is not None]
        if not self.name or not given or not all(math.isfinite(limit) for limit in given):
            raise OptimizerError(f"A bound needs a measure's name and a finite at_least or at_most, got {self!r}.")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise OptimizerError(f"Bound {self.name!r}: at_least {self.at_least} is above at_most {self.at_most}.")

    def violation(self, measures: Mapping[str, float]) -> float:
        """Return by how much the limit is missed, 0.0 if it is kept. Raises OptimizerError without such a measure."""
        value = measures.get(self.name)
        if value is None:
            raise OptimizerError(f"No measure {self.name!r} in this result. {near_matches(self.name, measures)}")
        low = 0.0 if self.at_least is None else self.at_least - value
        high = 0.0 if self.at_most is None else value - self.at_most
        return max(0.0, low, high)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)


SCORE = Objective("score")
SURE_SCORE = Objective("score_low")  # the lower end of the score's 95 % interval: a high score on many rows
COST = Objective("cost_usd", "minimize")
LATENCY = Objective("latency_s", "minimize")
TAIL_LATENCY = Objective("latency_p95_s", "minimize")
PROMPT_TOKENS = Objective("prompt_tokens", "minimize")
RELIABILITY = Objective("reliability")


def check_measures(objectives: Sequence[Objective], bounds: Sequence[Bound]) -> None:
    """Raise OptimizerError unless there is at least one objective and each measure is named once in each list."""
    if not objectives:
        raise OptimizerError("A search needs at least one objective, such as Objective('score').")
    for kind, named in (("objective", objectives), ("bound", bounds)):
        names = [one.name for one in named]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise OptimizerError(f"Each {kind} is given once; {', '.join(map(repr, repeated))} is there more often.")
