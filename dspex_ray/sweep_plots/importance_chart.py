"""The weight of each variable as bars."""

from __future__ import annotations

import altair as alt

from dspex_coordination.analysis import importances
from dspex_ray.sweep_plots.request import PlotRequest
from dspex_ray.sweep_plots.style import WIDTH, Drawn, Rows, named, run_colour

_BAR = 22


def importance_chart(request: PlotRequest) -> Drawn:
    """Return the chart. Raises SweepError for a run with too few trials, or with trials that are all equally good."""
    objective = request.runs[0].objective(request.measure)
    names = tuple(run.run_id for run in request.runs)
    rows: Rows = [
        {"run": run.run_id, "variable": one.name, "share": one.share}
        for run in request.runs
        for one in importances(run, objective.name)
    ]
    order = list(dict.fromkeys(str(row["variable"]) for row in rows))
    bars: alt.Chart = (
        alt.Chart(named("importance"))
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="importance (share of the whole)", axis=alt.Axis(format="%")),
            y=alt.Y("variable:N", title="variable", sort=order, axis=alt.Axis(labelLimit=240)),
            color=run_colour(names),
            tooltip=[alt.Tooltip("run:N", title="sweep"), "variable:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    if len(names) > 1:
        bars = bars.encode(yOffset=alt.YOffset("run:N", sort=list(names)))
    title = alt.Title(
        f"What decides the measure {objective.name}", subtitle="PED-ANOVA: how the best trials differ from all"
    )
    height = alt.Step(_BAR if len(names) == 1 else _BAR * 0.7)
    return Drawn(bars.properties(title=title, width=WIDTH, height=height), {"importance": rows})
