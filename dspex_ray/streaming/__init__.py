"""Streaming: the tokens of a program's model calls and its typed output while it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_ray.streaming.front import (
        astream,
        stream,
    )
    from dspex_ray.streaming.piece import (
        StreamPiece,
    )

_HOMES = {
    "StreamPiece": "dspex_ray.streaming.piece",
    "astream": "dspex_ray.streaming.front",
    "stream": "dspex_ray.streaming.front",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "StreamPiece",
    "astream",
    "stream",
]
