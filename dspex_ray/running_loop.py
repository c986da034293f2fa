"""The thin front of code without an event loop."""

from __future__ import annotations

import asyncio

from dspex_ray.errors import UsageError


def refuse_running_loop(call: str, instead: str) -> None:
    """Raise UsageError if an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{call} cannot be used inside a running event loop (async code, a notebook); use `{instead}`.")
