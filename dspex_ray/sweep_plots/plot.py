"""`plot`: the door to the charts; nothing of the chart library is loaded before it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError
from dspex_ray.sweep_plots.request import PlotRequest

KINDS = ("history", "pareto", "importance", "parallel")
ENDINGS = (".html", ".png")


@dataclass(frozen=True, slots=True)
class Plotted:
    """A file that was written, the kinds of charts in it, and why others of `all` are not."""

    path: Path
    kinds: tuple[str, ...]
    left_out: Mapping[str, str]


def check_target(kind: str, path: Path) -> None:
    """Raise UsageError for an unknown kind of chart, a file of an unknown ending, or a folder that is not there."""
    if kind not in (*KINDS, "all"):
        raise UnknownNameError("kind of plot", kind, (*KINDS, "all"))
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"Cannot tell the kind of file from {str(path)!r}; give one that ends in .html or .png.")
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {str(path.absolute().parent)!r} to write {path.name!r} in; make it first."
        )


def plot(request: PlotRequest, kind: str, path: Path) -> Plotted:
    """Draw one kind of chart, or `all` that can be drawn, into an .html or .png file.

    Raises UsageError as `check_target` does, ConfigurationError without the extra `plots` or if the file cannot be
    written, SweepError if there is nothing to draw.
    """
    check_target(kind, path)
    try:
        from dspex_ray.sweep_plots.drawing import draw  # noqa: PLC0415 - an extra; and a second that nobody else need take
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("altair", "vl_convert"):
            raise
        raise ConfigurationError(f"Plots need {error.name!r}: pip install 'dspex-ray[plots]'.") from error
    kinds = KINDS if kind == "all" else (kind,)
    try:
        left_out = draw(request, kinds, path)
    except OSError as error:
        raise ConfigurationError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error
    return Plotted(path, tuple(one for one in kinds if one not in left_out), left_out)
