"""Writing a result to a file, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from dspex_ray.errors import UsageError


def require_place(path: str | os.PathLike[str], endings: tuple[str, ...]) -> Path:
    """Return the path. Raises UsageError, before anything is paid for, if nothing can be written there."""
    place = Path(path)
    if place.suffix.lower() not in endings:
        raise UsageError(f"{place}: the file's ending says its form; it is one of {', '.join(endings)}.")
    if place.is_dir():
        raise UsageError(f"{place} is a folder; give a file in it.")
    if not place.parent.is_dir():
        raise UsageError(f"{place} cannot be written: the folder {place.parent} does not exist.")
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise UsageError(f"{place} cannot be written: permission denied.")
    return place


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text; an older file is replaced once the new one is whole. Raises UsageError if it cannot be."""
    place = Path(path)
    draft = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        # what is no valid Unicode (half a surrogate pair in a reply) is shown as an escape, not refused
        draft.write_bytes(text.encode("utf-8", "backslashreplace"))
        draft.replace(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(f"{place} cannot be written: {error.strerror or error}.") from error
