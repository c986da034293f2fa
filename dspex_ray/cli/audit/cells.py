"""Cells of a table that hold what others wrote."""

from __future__ import annotations

from rich.text import Text


def plain(text: str) -> Text:
    """Return text that a terminal shows as it is: no markup of ours, no control sequences of theirs."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))
