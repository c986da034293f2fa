"""`Evaluation`: the rows of a program's evaluation and their figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dspex_ray.evaluation_report.page import page
from dspex_ray.evaluation_report.table import data_frame, example_rows, write_rows
from dspex_ray.evaluation_report.writing import write_text
from dspex_ray.example import Example
from dspex_ray.intervals import interval, interval_method


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScore:
    """One row's result. `row` is its position; `output` is JSON, None if the program gave none.

    `cost_usd` is the whole bill of the row and leaves out `unpriced_calls`; `metric_cost_usd` is the part of it that
    the metric's own model calls cost. `latency_s` is the program's time in seconds and `prompt_tokens` the length of
    all its prompts, cached or not, both without the metric's. The metric gives `feedback` and `measures`; where the
    program failed, its error is the feedback. `steps` are those of `kept_steps`, if they were asked for.
    """

    row: int
    example_id: str
    score: float
    output: Any = None
    error: str | None = None
    cost_usd: float = 0.0
    calls: int = 0
    unpriced_calls: int = 0
    latency_s: float = 0.0
    prompt_tokens: int = 0
    feedback: str | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    metric_cost_usd: float = 0.0
    steps: list[dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The mean score of all rows with its 95 % interval. `cost_usd` leaves out `unpriced_calls`.

    `interval_method` says how the interval was made; `leaked_rows` counts rows whose input is among the program's
    demonstrations. `examples` stand beside `scores`; `literals` are the options of the output's Literal fields.
    """

    accuracy: float
    low: float
    high: float
    rows: int
    errors: int
    cost_usd: float
    calls: int
    unpriced_calls: int
    wall_s: float
    metric_cost_usd: float = 0.0
    interval_method: str = ""
    metric: str = ""
    program: str = ""
    source: str = ""
    fingerprint: str = ""
    leaked_rows: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[RowScore, ...] = field(repr=False)
    examples: tuple[Example, ...] = field(default=(), repr=False)
    literals: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, repr=False)

    @property
    def mean(self) -> float:
        """The mean score: the accuracy where the metric gives 0 or 1."""
        return self.accuracy

    def to_json(self, *, with_scores: bool = False) -> dict[str, Any]:
        """Return the figures as JSON, the rows' own only if asked for."""
        left_out = {"scores", "examples", "literals"}
        figures = {name: value for name, value in vars(self).items() if name not in left_out}
        figures["measures"] = dict(self.measures)
        return figures | ({"scores": [asdict(one) for one in self.scores]} if with_scores else {})

    def table(self) -> list[dict[str, Any]]:
        """Return one dict a row: row, id, input, expected, output, score, feedback, error, bill, latency, measures."""
        return example_rows(self)

    def to_dataframe(self) -> Any:
        """Return the table as a pandas DataFrame, fields in columns such as `input.message`.

        Raises ConfigurationError if pandas is not installed.
        """
        return data_frame(self)

    def write_rows(self, path: str | os.PathLike[str]) -> None:
        """Write the table to a .csv or .jsonl file. Raises UsageError for another ending or an unwritable place."""
        write_rows(self, path)

    def write_report(self, path: str | os.PathLike[str], *, title: str = "Evaluation", most_rows: int = 2000) -> None:
        """Write the report, one HTML file that needs nothing else. Raises UsageError for an unwritable place."""
        write_text(path, page(self, title=title, most_rows=most_rows))


def summarize(
    scores: Sequence[RowScore], wall_s: float, examples: Sequence[Example] = (), **described: Any
) -> Evaluation:
    """Return the figures of the rows; `described` are further fields of Evaluation. Raises UsageError without rows."""
    values = [one.score for one in scores]
    low, high = interval(values)
    measured: dict[str, list[float]] = {}
    for one in scores:
        for name, value in one.measures.items():
            measured.setdefault(name, []).append(value)
    return Evaluation(
        accuracy=sum(values) / len(values),
        low=low,
        high=high,
        rows=len(scores),
        errors=sum(one.error is not None for one in scores),
        cost_usd=sum(one.cost_usd for one in scores),
        calls=sum(one.calls for one in scores),
        unpriced_calls=sum(one.unpriced_calls for one in scores),
        wall_s=wall_s,
        metric_cost_usd=sum(one.metric_cost_usd for one in scores),
        interval_method=interval_method(values),
        measures={name: sum(found) / len(found) for name, found in measured.items()},
        scores=tuple(scores),
        examples=tuple(examples),
        **described,
    )
