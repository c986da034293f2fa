"""Units of work: which rows of the open trials wait, and in what portions they are handed out. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from dspex_coordination.sweep.trial import Trial

_PORTIONS = 2  # units in sight for each worker, before they are made smaller


@dataclass(frozen=True, slots=True)
class Unit:
    """Some rows of a trial. `id` names them for ever: the same rows whatever the sizes of units.

    `avoid` are workers with which it was lost.
    """

    trial: int
    split: str
    places: tuple[int, int]
    rows: tuple[int, ...]
    avoid: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """The trial, the split, and the first and last place among the trial's rows."""
        return f"{self.trial}:{self.split}:{self.places[0]}-{self.places[1]}"

    def singles(self) -> list[Unit]:
        """Return a unit for each row."""
        first = self.places[0]
        return [replace(self, places=(first + i, first + i), rows=(row,)) for i, row in enumerate(self.rows)]


class WaitingRows:
    """The rows not handed out, by trial, the earliest trial first; units that were lost wait behind the others.

    The size of a unit follows guided self-scheduling (Polychronopoulos and Kuck, IEEE TC 1987): a share of all that
    waits, at most `chunk`, so that workers run out of work together.
    """

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self._trials: dict[int, Trial] = {}
        self._places: dict[int, deque[int]] = {}
        self._lost: dict[int, deque[Unit]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, trial: Trial) -> None:
        """Queue what a new or resumed trial lacks."""
        lacking = deque(place for place, row in enumerate(trial.rows) if trial.lacks(row))
        self._trials[trial.number], self._places[trial.number], self._lost[trial.number] = trial, lacking, deque()
        self._count += len(lacking)

    def put_back(self, unit: Unit) -> None:
        """Queue a unit once more, as it is, behind the rows of its trial."""
        if unit.trial in self._trials:
            self._lost[unit.trial].append(unit)
            self._count += len(unit.rows)

    def drop(self, number: int) -> None:
        """Forget a trial that needs no more rows."""
        if self._trials.pop(number, None) is not None:
            self._count -= len(self._places.pop(number)) + sum(len(unit.rows) for unit in self._lost.pop(number))

    def refresh(self) -> None:
        """Look again at what the trials lack: a row was left out."""
        for number, trial in self._trials.items():
            lacking = deque(place for place in self._places[number] if trial.lacks(trial.rows[place]))
            lost = deque(part for unit in self._lost[number] for part in remaining(unit, trial.lacks))
            gone = len(self._places[number]) + sum(len(unit.rows) for unit in self._lost[number])
            self._count += len(lacking) + sum(len(unit.rows) for unit in lost) - gone
            self._places[number], self._lost[number] = lacking, lost

    def take(self, limit: int, workers: int) -> list[Unit]:
        """Return at most `limit` units, in portions for so many workers (less than 2: all are of full size)."""
        units: list[Unit] = []
        for number in [number for number, trial in self._trials.items() if trial.told is not None]:
            self.drop(number)
        for number, trial in self._trials.items():
            places, lost = self._places[number], self._lost[number]
            while places and len(units) < limit:
                units.append(self._cut(trial, places, self._size(workers)))
            while lost and len(units) < limit:
                units.append(lost.popleft())
                self._count -= len(units[-1].rows)
            if len(units) >= limit:
                break
        return units

    def _size(self, workers: int) -> int:
        if workers < 2:  # noqa: PLR2004 - nobody to share with
            return self._chunk
        return max(1, min(self._chunk, self._count // (_PORTIONS * workers)))

    def _cut(self, trial: Trial, places: deque[int], size: int) -> Unit:
        first = last = places.popleft()
        # never across a multiple of the chunk: equal rows of all trials keep together, and meet at one worker
        while places and places[0] == last + 1 and last + 1 - first < size and (last + 1) % self._chunk:
            last = places.popleft()
        self._count -= last + 1 - first
        return Unit(trial.number, trial.split, (first, last), trial.rows[first : last + 1])


def remaining(unit: Unit, lacks: Callable[[int], bool]) -> list[Unit]:
    """Return what is left of a unit when only the rows that are lacking count: itself, or single rows."""
    lacking = [single for single in unit.singles() if lacks(single.rows[0])]
    return [unit] if len(lacking) == len(unit.rows) else lacking
