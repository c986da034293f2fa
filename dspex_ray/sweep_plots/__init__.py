"""Charts of sweeps, as HTML that works offline and as PNG; drawing them needs the extra `plots`."""

from __future__ import annotations

from dspex_ray.sweep_plots.plot import KINDS, Plotted, check_target, plot
from dspex_ray.sweep_plots.request import PlotRequest

__all__ = ["KINDS", "PlotRequest", "Plotted", "check_target", "plot"]
