"""What may be set of an optimizer: read off what makes it, so that a wrong setting shows before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import OptimizerError, near_matches

_NO_SETTINGS = ("seed", "max_trials", "inner")  # what every optimizer is made with


def settings_of(kind: Callable[..., Any]) -> dict[str, Any]:
    """Return the names and types of what a class takes by keyword alone, its seed and trials left out."""
    taken = inspect.signature(kind, eval_str=True).parameters.values()
    return {one.name: one.annotation for one in taken if one.kind is one.KEYWORD_ONLY and one.name not in _NO_SETTINGS}


def check_settings(owner: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise OptimizerError that names every setting the optimizer `owner` does not know, or not of such a type.

    Settings are kept with a run, so they are JSON values.
    """
    strange = [f"has no setting {name!r}. {near_matches(name, known)}" for name in given if name not in known]
    wrong = [
        f"takes {name} as {_named(kind)}, got {given[name]!r}."
        for name, kind in known.items()
        if name in given and not _is(kind, given[name])
    ]
    if strange or wrong:
        raise OptimizerError("\n".join(f"The optimizer {owner!r} {problem}" for problem in strange + wrong))


def _is(kind: Any, value: Any) -> bool:
    try:
        canonical_json(value)
        TypeAdapter(kind).validate_python(value, strict=True)
    except (TypeError, ValueError, ValidationError):
        return False
    return True


def _named(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "").replace("collections.abc.", "")
