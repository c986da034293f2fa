"""`module:name` of what stands in a module."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from dspex_ray.errors import ProgramError


def reference(function: Any) -> str | None:
    """Return `module:name` as a function was defined; None for one that has no such name."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}:{name}" if isinstance(module, str) and isinstance(name, str) else None


def standing_at(place: str | None) -> Any:
    """Return what a loaded module holds under `module:name`, or None."""
    module, _, name = (place or "").partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def imported(place: str) -> Any:
    """Return what stands at `module:name`. Raises ProgramError."""
    module = place.partition(":")[0]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ProgramError(f"The tool {place} cannot be loaded: {error}.") from error
    found = standing_at(place)
    if found is None:
        raise ProgramError(f"The tool {place} cannot be loaded: module {module} holds no such name.")
    return found
