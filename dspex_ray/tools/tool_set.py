"""The tools of a program: each name once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
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
