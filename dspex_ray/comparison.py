"""`compare`: two evaluations on the same rows, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dspex_ray.errors import UsageError
from dspex_ray.evaluation.result import Evaluation, RowScore
from dspex_ray.intervals import bootstrap, paired_difference

_SURE = 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the second evaluation has over the first, with 95 % intervals, on the rows of both.

    `difference` is the second's mean score minus the first's. `better` and `worse` count the rows where the second
    scored higher or lower. `p_value` is of the exact two-sided sign test of these counts, McNemar's for scores of 0 and
    1: the chance of counts at least so uneven if neither were better. Costs are US dollars a row, latencies
    seconds a row, both second minus first.
    """

    rows: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    interval_method: str
    better: int
    worse: int
    equal: int
    test: str
    p_value: float
    cost_difference: float
    cost_low: float
    cost_high: float
    latency_difference: float
    latency_low: float
    latency_high: float

    @property
    def winner(self) -> Literal["first", "second"] | None:
        """The better one, if the test leaves less than 5 % for chance; else None."""
        if self.p_value >= _SURE or self.better == self.worse:
            return None
        return "second" if self.better > self.worse else "first"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {**asdict(self), "winner": self.winner}


def compare(
    first: Evaluation, second: Evaluation, *, by: Literal["example", "row"] = "example", seed: int = 0
) -> Comparison:
    """Compare two evaluations of the same rows under the same metric.

    Rows are paired `by` their example's id, or by their number where two programs read the same file differently. The
    interval of graded scores is a paired BCa bootstrap; that of scores of 0 and 1 is Agresti and Min's (2005). Raises
    UsageError if the rows or the metrics are not the same.
    """
    if first.metric != second.metric:
        raise UsageError(f"Scores of different metrics cannot be compared: {first.metric!r} and {second.metric!r}.")
    pairs = _pairs(first.scores, second.scores, by)
    ones, twos = [one.score for one, _ in pairs], [two.score for _, two in pairs]
    binary = {*ones, *twos} <= {0.0, 1.0}
    difference, low, high = paired_difference(ones, twos, seed)
    better, worse = (
        sum(t > o for o, t in zip(ones, twos, strict=True)),
        sum(t < o for o, t in zip(ones, twos, strict=True)),
    )
    cost = _paired_mean([two.cost_usd - one.cost_usd for one, two in pairs], seed)
    latency = _paired_mean([two.latency_s - one.latency_s for one, two in pairs], seed)
    return Comparison(
        rows=len(pairs),
        first=sum(ones) / len(ones),
        second=sum(twos) / len(twos),
        difference=difference,
        low=low,
        high=high,
        interval_method="Agresti-Min" if binary else "paired BCa bootstrap",
        better=better,
        worse=worse,
        equal=len(pairs) - better - worse,
        test="exact McNemar test" if binary else "exact sign test",
        p_value=sign_test(better, worse),
        cost_difference=cost[0],
        cost_low=cost[1],
        cost_high=cost[2],
        latency_difference=latency[0],
        latency_low=latency[1],
        latency_high=latency[2],
    )


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided p-value of a fair coin falling so unevenly; ties are left out (W. Dixon, A. Mood, 1946)."""
    total = better + worse
    tail = term = 1  # term is the binomial coefficient, tail the sum of them
    for k in range(min(better, worse)):
        term = term * (total - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << total)) if total else 1.0


def _paired_mean(differences: Sequence[float], seed: int) -> tuple[float, float, float]:
    return sum(differences) / len(differences), *bootstrap(differences, seed)


def _pairs(first: Sequence[RowScore], second: Sequence[RowScore], by: str) -> list[tuple[RowScore, RowScore]]:
    if by not in ("example", "row"):
        raise UsageError(f"Rows are paired by 'example' or 'row', got {by!r}.")
    ones, twos = _keyed(first, by), _keyed(second, by)
    if ones.keys() != twos.keys():
        common = len(ones.keys() & twos.keys())
        raise UsageError(
            f"Only the same rows can be compared: the evaluations have {len(ones)} and {len(twos)} rows, {common} of "
            "them in common. Evaluate both on the same data with the same limit."
        )
    return [(one, twos[key]) for key, one in ones.items()]


def _keyed(scores: Sequence[RowScore], by: str) -> dict[Any, RowScore]:
    return {one.example_id if by == "example" else one.row: one for one in scores}
