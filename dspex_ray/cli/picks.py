"""`--pick`: which result of a front `dspex optimize` names at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dspex_ray.cli.output import out
from dspex_ray.cli.sweeps.figures import figure
from dspex_ray.errors import UsageError

if TYPE_CHECKING:
    from dspex_ray.optimized import Optimized

Pick = Annotated[
    list[str] | None,
    typer.Option(
        help="Of several objectives: name the best result within a limit, such as cost_per_1k=0.2 or prompt_tokens=400 "
        "(may be repeated), or by preference: quality, balanced, cheap, fast."
    ),
]


@dataclass(frozen=True)
class Picking:
    """A preference or limits, as `Optimized.pick` takes them."""

    preference: str | None = None
    limits: dict[str, float] = field(default_factory=dict)

    def found(self, result: Optimized) -> dict[str, Any]:
        """Return trial, version and measures of the result picked. Raises UsageError if there is none."""
        trial = result.pick_trial(self.preference, **self.limits)
        return {
            "trial": trial.number,
            "version": result.version_of(trial).number,
            "measures": {one.name: trial.measures[one.name] for one in result.objectives},
        }


def picking(texts: Sequence[str] | None) -> Picking | None:
    """Return what `--pick` options ask for; None without any. Raises UsageError for what is no limit."""
    if not texts:
        return None
    limits: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals and len(texts) == 1:
            return Picking(name)
        limits[name] = _number(value) if equals and name not in limits else math.nan
        if not math.isfinite(limits[name]):
            raise UsageError(f"--pick takes one preference, or measure=limit for each measure once, got {text!r}.")
    return Picking(limits=limits)


def show_picked(picked: dict[str, Any], path: str) -> None:
    """Print what `Picking.found` gave."""
    told = ", ".join(f"{name} {figure(name, value)}" for name, value in picked["measures"].items())
    out.print(f"Picked trial {picked['trial']} ({told}): version {picked['version']} of {path}.", markup=False)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
