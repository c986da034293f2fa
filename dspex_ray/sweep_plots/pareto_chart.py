"""Two measures of every trial against each other, with the front marked."""

from __future__ import annotations

from typing import Literal

import altair as alt

from dspex_coordination.analysis import SearchRun, tradeoffs
from dspex_ray.sweep_plots.request import PlotRequest
from dspex_ray.sweep_plots.style import (
    HEIGHT,
    WIDTH,
    Drawn,
    Rows,
    axis_title,
    direction_note,
    named,
    run_colour,
    thinned,
)

_FRONT, _BEATEN, _BROKEN = "on the front", "beaten", "breaks a bound"
_MARKS = {_FRONT: ("diamond", 110), _BEATEN: ("circle", 36), _BROKEN: ("cross", 36)}


def pareto_chart(request: PlotRequest) -> Drawn:
    """Return the chart. Raises SweepError for one measure against itself, or a run in which no trial has both."""
    across, up = request.pair
    names = tuple(run.run_id for run in request.runs)
    first = request.runs[0]
    rows = [row for run in request.runs for row in _rows(run, across, up)]
    front = [row for row in rows if row["standing"] == _FRONT]
    occurring = [standing for standing in _MARKS if any(row["standing"] == standing for row in rows)]
    shapes, sizes = [_MARKS[one][0] for one in occurring], [_MARKS[one][1] for one in occurring]
    horizontal = alt.X("across:Q", title=axis_title(across), scale=alt.Scale(zero=False))
    vertical = alt.Y("up:Q", title=axis_title(up), scale=alt.Scale(zero=False))
    step: Literal["step-after", "step-before"] = (
        "step-after" if first.objective(across).direction == "minimize" else "step-before"
    )
    line = (
        alt.Chart(named("front"))
        .mark_line(interpolate=step, strokeDash=[5, 3])
        .encode(x=horizontal, y=vertical, color=run_colour(names), order=alt.Order("across:Q"))
    )
    points = (
        alt.Chart(named("tradeoffs"))
        .mark_point(filled=True, fillOpacity=0.8)
        .encode(
            x=horizontal,
            y=vertical,
            color=run_colour(names),
            shape=alt.Shape("standing:N", title="trial", scale=alt.Scale(domain=occurring, range=shapes)),
            size=alt.Size("standing:N", scale=alt.Scale(domain=occurring, range=sizes), legend=None),
            tooltip=[alt.Tooltip(f"{field}", title=name) for field, name in _tips(across, up)],
        )
    )
    notes = f"{across}: {direction_note(first.objective(across))}; {up}: {direction_note(first.objective(up))}"
    title = alt.Title(f"Front of {', '.join(names)}", subtitle=notes)
    chart = alt.layer(line, points, title=title).properties(width=WIDTH, height=HEIGHT)
    return Drawn(chart, {"front": front, "tradeoffs": rows})


def _tips(across: str, up: str) -> list[tuple[str, str]]:
    return [("run:N", "sweep"), ("trial:Q", "trial"), ("across:Q", across), ("up:Q", up), ("rows:Q", "rows")]


def _rows(run: SearchRun, across: str, up: str) -> Rows:
    found = [
        {
            "run": run.run_id,
            "trial": point.trial,
            "across": point.x,
            "up": point.y,
            "rows": point.rows,
            "standing": _FRONT if point.leads else _BEATEN if point.feasible else _BROKEN,
        }
        for point in tradeoffs(run, across, up)
    ]
    front = [row for row in found if row["standing"] == _FRONT]
    return front + thinned([row for row in found if row["standing"] != _FRONT])
