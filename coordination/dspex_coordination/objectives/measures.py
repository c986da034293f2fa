"""The measures of a trial, from its rows.

| measure                   | meaning                                                                             |
|---------------------------|-------------------------------------------------------------------------------------|
| `score`                   | mean of the scores there are                                                        |
| `score_low`, `score_high` | 95 % interval of that mean: Wilson for scores of 0 and 1, else bootstrap            |
| `cost_usd`                | mean cost of a row in US dollars, without what the metric itself cost               |
| `latency_s`               | mean latency of a row in seconds                                                    |
| `latency_p95_s`           | the latency that 95 % of the rows do not exceed, in seconds                         |
| `prompt_tokens`           | mean length of a row's prompts in tokens; missing where that of a row is not known  |
| `reliability`             | share of the rows without an error                                                  |
| a metric's own            | mean over the rows that have it                                                     |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.interval import mean_interval
from dspex_coordination.objectives.objective import STANDARD


class RowLike(Protocol):
    """One scored row; a `RowResult` is one."""

    @property
    def score(self) -> float | None:
        """None where the metric gave none."""
        ...

    @property
    def cost_usd(self) -> float:
        """US dollars, the metric's own calls included."""
        ...

    @property
    def metric_cost_usd(self) -> float:
        """US dollars of the metric's own calls."""
        ...

    @property
    def latency_s(self) -> float:
        """Seconds."""
        ...

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens of all prompts of the row; None where not known."""
        ...

    @property
    def error(self) -> str | None:
        """What the program raised on this row."""
        ...

    @property
    def measures(self) -> Mapping[str, float]:
        """The metric's own measures by name."""
        ...


def measures_of(rows: Sequence[RowLike]) -> dict[str, float]:
    """Return the measures of the table; the order of the rows is no matter. Of no rows there is none.

    Raises OptimizerError if a metric's own measure has the name of a standard one.
    """
    if not rows:
        return {}
    measures = {
        "cost_usd": _mean([max(0.0, row.cost_usd - row.metric_cost_usd) for row in rows]),
        "latency_s": _mean([row.latency_s for row in rows]),
        "latency_p95_s": sorted(row.latency_s for row in rows)[math.ceil(0.95 * len(rows)) - 1],
        "reliability": sum(row.error is None for row in rows) / len(rows),
    }
    lengths = [row.prompt_tokens for row in rows if row.prompt_tokens is not None]
    if len(lengths) == len(rows):
        measures["prompt_tokens"] = _mean(lengths)
    scores = [row.score for row in rows if row.score is not None]
    if scores:
        low, high = mean_interval(scores)
        measures |= {"score": _mean(scores), "score_low": low, "score_high": high}
    return measures | _own(rows)


def _own(rows: Sequence[RowLike]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.measures.items():
            values.setdefault(name, []).append(value)
    taken = sorted(set(values) & set(STANDARD))
    if taken:
        raise OptimizerError(f"A metric's own measures need other names than {', '.join(map(repr, taken))}.")
    return {name: _mean(values[name]) for name in sorted(values)}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
