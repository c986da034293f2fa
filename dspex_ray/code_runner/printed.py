"""`Printed`: the beginning of what code prints."""

from __future__ import annotations


class Printed:
    """Keeps the first `most` characters and counts the rest; called with each piece."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: list[str] = []
        self._kept = self._all = 0

    def __call__(self, _stream: str, piece: str) -> None:
        """Take a piece."""
        self._all += len(piece)
        if self._kept < self._most:
            head = piece[: self._most - self._kept]
            self._pieces.append(head)
            self._kept += len(head)

    @property
    def text(self) -> str:
        """What is kept; a cut is said."""
        kept = "".join(self._pieces)
        return kept if self._all <= self._most else f"{kept}\n... (cut: the first {self._most:,} of {self._all:,})"
