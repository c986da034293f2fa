"""What `dspex optimize` says before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_ray.data import Dataset
from dspex_ray.programs.program import Program
from dspex_ray.search_outlook import Limits, Outlook, expected_of
from dspex_ray.search_plan import SearchPlan, SearchRequest, prepare
from dspex_ray.terminal import err


def expected(program: Program, rows: Dataset, options: Mapping[str, Any], limits: Limits) -> Outlook:
    """Return what to expect of `optimize` with these options, at no cost.

    Raises UsageError for a request that cannot be searched, or not within these limits.
    """
    return expected_of(planned(program, rows, options), limits)


def planned(program: Program, rows: Dataset, options: Mapping[str, Any]) -> SearchPlan:
    """Return what `optimize` with these options would do. Raises UsageError for a request that cannot be searched."""
    known = {name: options[name] for name in SearchRequest.__dataclass_fields__ if name in options}
    return prepare(SearchRequest(program=program, data=rows, **known), "outlook", options["store"], is_new=True)


def show_outlook(found: Outlook) -> None:
    """Print it for people, beside the result."""
    err.print("\n".join(found.lines()), markup=False, soft_wrap=True)
