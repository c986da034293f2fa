"""The start of a value's text, to be looked at where the value itself is not wanted."""

from __future__ import annotations

import reprlib
from typing import Any

_LENGTH = 120


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _LENGTH


_short = _Short()


def preview(value: Any) -> str:
    """Return at most 120 characters; never fails."""
    try:
        return _short.repr(value)[:_LENGTH]
    except Exception:  # noqa: BLE001 - a stranger's __repr__ may raise whatever it likes; looking must not fail
        return f"<{type(value).__name__}>"
