"""Names in the order of their load, kept up to date only when somebody looks."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

_SORT_SHARE = 20  # from a 20th of the names on, sorting all anew is quicker than moving each (measured)


class LoadOrder:
    """Least loaded first, ties by name. Setting a load costs the same however many there are."""

    def __init__(self) -> None:
        self._order: list[tuple[float, str]] = []
        self._placed: dict[str, float] = {}  # the load by which a name stands in the order
        self._moved: dict[str, float | None] = {}  # loads that the order does not show yet; None: to be taken out

    def set(self, name: str, load: float) -> None:
        """Add the name, or give it another load."""
        self._moved[name] = load

    def remove(self, name: str) -> None:
        """Take the name out."""
        self._moved[name] = None

    def __iter__(self) -> Iterator[str]:
        self._settle()
        return (name for _, name in self._order)

    def _settle(self) -> None:
        if len(self._moved) * _SORT_SHARE > len(self._order):
            self._placed |= {name: load for name, load in self._moved.items() if load is not None}
            for name, load in self._moved.items():
                if load is None:
                    self._placed.pop(name, None)
            self._order = sorted((load, name) for name, load in self._placed.items())
        else:
            for name, load in self._moved.items():
                self._move(name, load)
        self._moved.clear()

    def _move(self, name: str, load: float | None) -> None:
        before = self._placed.pop(name, None)
        if before is not None:
            del self._order[bisect_left(self._order, (before, name))]
        if load is not None:
            self._placed[name] = load
            insort(self._order, (load, name))
