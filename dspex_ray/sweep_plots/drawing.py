"""Which function draws which kind of chart, and several of them on one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from dspex_coordination.errors import SweepError
from dspex_ray.sweep_plots.files import write
from dspex_ray.sweep_plots.history_chart import history_chart
from dspex_ray.sweep_plots.importance_chart import importance_chart
from dspex_ray.sweep_plots.parallel_chart import parallel_chart
from dspex_ray.sweep_plots.pareto_chart import pareto_chart
from dspex_ray.sweep_plots.request import PlotRequest
from dspex_ray.sweep_plots.style import Drawn, below

CHARTS: Mapping[str, Callable[[PlotRequest], Drawn]] = {
    "history": history_chart,
    "pareto": pareto_chart,
    "importance": importance_chart,
    "parallel": parallel_chart,
}


def draw(request: PlotRequest, kinds: tuple[str, ...], path: Path) -> dict[str, str]:
    """Write the charts of these kinds, below each other, and return why others of them could not be drawn.

    Raises SweepError if none could, OSError if the file cannot be written.
    """
    charts: list[Drawn] = []
    left_out: dict[str, str] = {}
    for kind in kinds:
        try:
            charts.append(CHARTS[kind](request))
        except SweepError as error:
            left_out[kind] = str(error)
    if not charts:
        raise SweepError(next(iter(left_out.values())))
    names = ", ".join(run.run_id for run in request.runs)
    write(below(charts), path, f"{', '.join(kind for kind in kinds if kind not in left_out)} of {names}")
    return left_out
