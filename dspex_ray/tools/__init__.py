"""Tools: typed functions that a model may call, with checked arguments, a time limit and bounded results."""

from __future__ import annotations

from dspex_ray.tools.json_value import as_json, as_text
from dspex_ray.tools.tool import Tool, ToolResult, as_tool, tool
from dspex_ray.tools.tool_set import tool_set

__all__ = [
    "Tool",
    "ToolResult",
    "as_json",
    "as_text",
    "as_tool",
    "tool",
    "tool_set",
]
