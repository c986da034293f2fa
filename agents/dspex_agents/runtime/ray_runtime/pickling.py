"""Which part of a specification cannot travel to another process."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from typing import Any

import cloudpickle

from dspex_agents.supervision.child_spec import SupervisorSpec

_DEEPEST = 4


def why_unpicklable(supervisor: SupervisorSpec) -> str:
    """Return the first agent's part that does not pickle, by name, down to the attribute; empty when all do."""
    for spec in supervisor.agents():
        for what, value in (
            ("start", spec.start),
            *((f"kwargs[{name!r}]", each) for name, each in spec.kwargs.items()),
        ):
            if problem := _problem(value):
                path = ".".join((what, *_path_to_culprit(value, _DEEPEST)))
                return f"child {spec.id!r}: {path} does not pickle ({problem})"
    return ""


def _problem(value: Any) -> str:
    try:
        cloudpickle.dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        return str(error)
    return ""


def _path_to_culprit(value: Any, depth: int) -> tuple[str, ...]:
    """Return the names that lead from a value to the innermost part that does not pickle."""
    for name, part in _parts(value).items() if depth else ():
        if part is not value and _problem(part):
            return (name, *_path_to_culprit(part, depth - 1))
    return ()


def _parts(value: Any) -> Mapping[str, Any]:
    if inspect.ismethod(value):
        return {"__self__": value.__self__}
    if inspect.isfunction(value):
        variables = inspect.getclosurevars(value)
        return {**variables.nonlocals, **variables.globals}
    if isinstance(value, Mapping):
        return {f"[{key!r}]": part for key, part in value.items()}
    return getattr(value, "__dict__", {})
