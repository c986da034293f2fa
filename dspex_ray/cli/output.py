"""What the commands print on standard output: one JSON object, or text for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console

out = Console(highlight=False, emoji=False)


class _JsonStream:
    """Where `print_json` writes: standard output as it was when the command began."""

    stream: TextIO = sys.stdout


@contextmanager
def stdout_for_json(wanted: bool) -> Iterator[None]:  # noqa: FBT001 - the command's flag
    """Send whatever anyone else prints on standard output to standard error: Ray reports killed workers there."""
    _JsonStream.stream = sys.stdout
    if not wanted:
        yield
        return
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = _JsonStream.stream


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line of standard output."""
    _JsonStream.stream.write(json.dumps(value, default=str) + "\n")
    _JsonStream.stream.flush()
