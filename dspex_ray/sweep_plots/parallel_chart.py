"""Parallel coordinates: each trial as a line through the axes of its variables, coloured by its measure."""

from __future__ import annotations

import altair as alt

from dspex_coordination.analysis import ParallelCoordinates, SearchRun, parallel_coordinates
from dspex_coordination.objectives import Objective
from dspex_ray.sweep_plots.request import PlotRequest
from dspex_ray.sweep_plots.style import HEIGHT, SCHEME, WIDTH, Drawn, Rows, axis_title, below, named

_AXIS_GAP = 130
_MOST_LINES = 1000
_MOST_TICKS = 12


def parallel_chart(request: PlotRequest) -> Drawn:
    """Return one panel a run. A line has a gap where a variable was inactive.

    Raises SweepError for a run without a trial to show, or a space without a variable.
    """
    objective = request.runs[0].objective(request.measure)
    panels = [_panel(run, parallel_coordinates(run, objective.name), objective) for run in request.runs]
    return below(panels)


def _panel(run: SearchRun, shown: ParallelCoordinates, objective: Objective) -> Drawn:
    kept = _kept(shown, objective)
    names = [axis.name for axis in shown.axes]
    names_of = [f"{part} of {run.run_id}" for part in ("lines", "axes", "ticks")]
    across = alt.X("axis:N", sort=names, title="variable", axis=alt.Axis(labelAngle=0, labelLimit=_AXIS_GAP - 10))
    up = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.05, 1.05]))
    colour = alt.Color("value:Q", title=axis_title(objective.name), scale=alt.Scale(scheme=SCHEME, zero=False))
    lines = alt.Chart(named(names_of[0]))
    tips = ["trial:Q", alt.Tooltip("value:Q", title=objective.name), alt.Tooltip("axis:N", title="variable"), "at:N"]
    drawn = lines.mark_line(strokeOpacity=0.55, invalid="break-paths-show-path-domains").encode(
        x=across, y=up, color=colour, detail="trial:N"
    )
    dots = lines.mark_circle(size=18, fillOpacity=0.7).encode(x=across, y=up, color=colour, tooltip=tips)
    rules = alt.Chart(named(names_of[1])).mark_rule(color="#666").encode(x=across)
    labels = alt.Chart(named(names_of[2])).encode(x=across, y=up, text="label:N")
    halo = labels.mark_text(align="left", dx=6, fontSize=10, stroke="white", strokeWidth=3)
    ticks = labels.mark_text(align="left", dx=6, fontSize=10, color="#222")
    best_of = "" if len(kept) == len(shown.trials) else f"the best {len(kept)} of "
    title = alt.Title(
        f"Trials of {run.run_id}",
        subtitle=f"{best_of}{len(shown.trials)} trials; a line has a gap where a variable is inactive",
    )
    width = max(WIDTH, _AXIS_GAP * len(names))
    chart = alt.layer(rules, drawn, dots, halo, ticks, title=title).properties(width=width, height=HEIGHT)
    rows: tuple[Rows, ...] = (_points(shown, kept), [{"axis": name} for name in names], _ticks(shown))
    return Drawn(chart, dict(zip(names_of, rows, strict=True)))


def _kept(shown: ParallelCoordinates, objective: Objective) -> list[int]:
    """Return the places of the lines to draw, the best last, so that they lie on top."""
    order = sorted(range(len(shown.trials)), key=lambda i: objective.gain({objective.name: shown.values[i]}))
    return order[-_MOST_LINES:]


def _points(shown: ParallelCoordinates, kept: list[int]) -> Rows:
    return [
        {
            "trial": shown.trials[i],
            "value": shown.values[i],
            "axis": axis.name,
            "place": axis.positions[i],
            "at": None if axis.positions[i] is None else str(axis.values[i])[:60],
        }
        for i in kept
        for axis in shown.axes
    ]


def _ticks(shown: ParallelCoordinates) -> Rows:
    found: Rows = []
    for axis in shown.axes:
        every = max(1, -(-len(axis.ticks) // _MOST_TICKS))
        found += [{"axis": axis.name, "place": place, "label": label} for place, label in axis.ticks[::every]]
    return found
