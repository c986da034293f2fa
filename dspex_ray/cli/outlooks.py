"""What `dspex optimize` says before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_ray.cli.output import err
from dspex_ray.data import Dataset
from dspex_ray.estimation import estimate
from dspex_ray.programs.program import Program
from dspex_ray.search_outlook import Limits, Outlook, outlook
from dspex_ray.search_plan import SearchPlan, SearchRequest, prepare


def expected(program: Program, rows: Dataset, options: Mapping[str, Any], limits: Limits) -> Outlook:
    """Return what to expect of `optimize` with these options, at no cost.

    Raises UsageError for a request that cannot be searched, or not within these limits.
    """
    plan = planned(program, rows, options)
    guessed = estimate(program, rows, metric=options["metric"], trials=options["trials"], seed=options["seed"])
    return outlook(plan.search, guessed, limits, plan.reason)


def planned(program: Program, rows: Dataset, options: Mapping[str, Any]) -> SearchPlan:
    """Return what `optimize` with these options would do. Raises UsageError for a request that cannot be searched."""
    known = {name: options[name] for name in SearchRequest.__dataclass_fields__ if name in options}
    return prepare(SearchRequest(program=program, data=rows, **known), "outlook", options["store"], is_new=True)


def show_outlook(found: Outlook) -> None:
    """Print it for people, beside the result."""
    err.print("\n".join(found.lines()), markup=False, soft_wrap=True)
