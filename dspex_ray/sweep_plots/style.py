"""What all charts share: colours that the colour-blind can tell apart, titles of axes with units, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
from altair.typing import ChartType

from dspex_coordination.objectives import Objective

# Okabe and Ito, "Color Universal Design", 2008; yellow and grey are left out: too faint on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SCHEME: Final = "viridis"  # even in lightness, so it also reads in grey
WIDTH, HEIGHT = 420, 300
MOST = 5000  # points or lines of one run; more make the page slow and show nothing

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart, and its rows by the names under which the chart refers to them.

    They are apart because altair checks rows within a chart against its schema, one by one, for seconds.
    """

    chart: ChartType
    rows: Mapping[str, Rows]


def below(drawn: Sequence[Drawn]) -> Drawn:
    """Return the charts one below the other, each with scales of its own."""
    if len(drawn) == 1:
        return drawn[0]
    whole = alt.vconcat(*(one.chart for one in drawn)).resolve_scale(color="independent", shape="independent")
    return Drawn(whole, {name: rows for one in drawn for name, rows in one.rows.items()})


_TITLES = {
    "score": "score (mean over rows)",
    "score_low": "score, lower end of the 95 % interval",
    "score_high": "score, upper end of the 95 % interval",
    "cost_usd": "cost (US dollars a row)",
    "latency_s": "latency (seconds, mean over rows)",
    "latency_p95_s": "latency (seconds, 95 % of rows)",
    "prompt_tokens": "prompt length (tokens a row)",
    "reliability": "reliability (share of rows without error)",
}


def axis_title(measure: str) -> str:
    """Return a measure's name for an axis, with its unit where it has one."""
    return _TITLES.get(measure, measure)


def direction_note(objective: Objective) -> str:
    """Say which end of an axis is good."""
    return "higher is better" if objective.direction == "maximize" else "lower is better"


def named(name: str) -> alt.NamedData:
    """Return a reference to the rows of that name in `Drawn.rows`."""
    return alt.NamedData(name=name)


def run_colour(runs: tuple[str, ...]) -> alt.Color:
    """Return the encoding of the run by colour; without a legend for a single one."""
    legend = alt.Legend(title="sweep", labelLimit=300) if len(runs) > 1 else None
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(runs))]
    return alt.Color("run:N", scale=alt.Scale(domain=list(runs), range=colours), legend=legend)


def thinned(rows: Rows, most: int = MOST) -> Rows:
    """Return at most about `most` of the rows, evenly, with the first and the last."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]
