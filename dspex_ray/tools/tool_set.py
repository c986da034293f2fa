"""The tools of a program: each name once, each findable again when the program is saved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.tools.reference import imported, reference, standing_at
from dspex_ray.tools.tool import Tool, as_tool


def tool_set(given: Any, reserved: Collection[str] = ()) -> dict[str, Tool]:
    """Return the tools of a list of functions and tools, by name.

    Raises ProgramError for what is no list, for what is no tool (see `tool`), for a name that occurs twice and for one
    of the `reserved`.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ProgramError(f"tools is a list of functions with typed arguments, got {shown(given)}.")
    made: dict[str, Tool] = {}
    for one in given:
        tool = as_tool(one)
        if tool.name in reserved:
            raise ProgramError(f"A tool cannot be called {tool.name!r} here; give it another name: tool(name=...).")
        if tool.name in made:
            raise ProgramError(f"Two tools are called {tool.name!r}; give one another name: tool(name=...).")
        made[tool.name] = tool
    return made


def tool_reference(tool: Tool) -> str:
    """Return `module:name`, by which `resolve_tool` finds the tool again, also in another process.

    Raises ProgramError for a tool that no module holds: a bound method, a function within a function, one with other
    options than it was declared with.
    """
    place = reference(tool.function)
    if (found := standing_at(place)) is not None and place is not None:
        declared = found if isinstance(found, Tool) else as_tool(found) if found is tool.function else None
        if declared is not None and _told(declared) == _told(tool):
            return place
    raise ProgramError(
        f"Tool {tool.name!r} cannot be saved: only a function or @tool at the top of a module can be found again, "
        f"and {place or shown(tool.function)} is none."
    )


def _told(tool: Tool) -> tuple[Any, ...]:
    return tool.name, tool.description, tool.timeout_s, tool.most_chars


def resolve_tool(place: str) -> Tool:
    """Return the tool at `module:name`. Raises ProgramError if there is none."""
    return as_tool(imported(place))
