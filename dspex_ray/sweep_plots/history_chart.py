"""The course of one or more searches: every trial and the best so far, against trials and against money."""

from __future__ import annotations

import altair as alt
from altair.typing import ChartType

from dspex_coordination.analysis import Step, history
from dspex_coordination.objectives import Objective
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

_ROWS = "history"


def history_chart(request: PlotRequest) -> Drawn:
    """Return the chart; the panel of costs is left out where nothing cost anything.

    Raises SweepError for a run without a trial to show.
    """
    objective = request.runs[0].objective(request.measure)
    rows = [row for run in request.runs for row in _rows(run.run_id, history(run, objective.name))]
    names = tuple(run.run_id for run in request.runs)
    panels = [_panel(names, objective, "told:Q", "trials finished")]
    if any(row["cost"] > 0 for row in rows):
        panels.append(_panel(names, objective, "cost:Q", "cost so far (US dollars)"))
    title = alt.Title(f"History of {', '.join(names)}", subtitle=f"{objective.name}: {direction_note(objective)}")
    return Drawn(alt.hconcat(*panels, title=title), {_ROWS: rows})


def _rows(run: str, steps: tuple[Step, ...]) -> Rows:
    rows = [
        {
            "run": run,
            "trial": step.trial,
            "told": step.told,
            "cost": step.cost_usd,
            "value": step.value,
            "best": step.best,
            "rows": step.rows,
        }
        for step in steps
    ]
    return thinned(rows)


def _panel(names: tuple[str, ...], objective: Objective, field: str, title: str) -> ChartType:
    across = alt.X(field, title=title, scale=alt.Scale(zero=False, nice=True))
    limits = alt.Scale(zero=False)
    tips = [alt.Tooltip(f"{name}", title=name.partition(":")[0]) for name in ("run:N", "trial:Q", "value:Q", "rows:Q")]
    base = alt.Chart(named(_ROWS)).properties(width=WIDTH, height=HEIGHT)
    points = base.mark_point(size=28, strokeOpacity=0.45).encode(
        x=across,
        y=alt.Y("value:Q", title=axis_title(objective.name), scale=limits),
        color=run_colour(names),
        tooltip=tips,
    )
    best = base.mark_line(interpolate="step-after", strokeWidth=2.5).encode(
        x=across,
        y=alt.Y("best:Q", title=axis_title(objective.name), scale=limits),
        color=run_colour(names),
        strokeDash=alt.StrokeDash("run:N", sort=list(names), legend=None),
    )
    return alt.layer(points, best)
