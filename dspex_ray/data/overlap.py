"""Rows that occur twice, within a data set or in two that should share nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dspex_coordination.canonical import canonical_json
from dspex_ray.data.dataset import Dataset
from dspex_ray.example import Example


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Inputs that occur more than once; each tuple holds the positions of one input, counted from 0.

    `conflicting` are those whose outputs differ: no program can answer all of them rightly.
    """

    repeated: tuple[tuple[int, ...], ...]
    conflicting: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        """How many rows repeat an earlier one's input."""
        return sum(len(positions) - 1 for positions in self.repeated)

    def __str__(self) -> str:
        if not self.repeated:
            return "no input occurs twice"
        told = f"{self.rows} rows repeat the input of another one"
        return f"{told}; {len(self.conflicting)} inputs have different outputs" if self.conflicting else told


@dataclass(frozen=True, slots=True)
class Leakage:
    """The positions in the second data set whose input is in the first too: (position there, position in the first)."""

    pairs: tuple[tuple[int, int], ...]
    rows: int

    @property
    def share(self) -> float:
        """The share of the second data set's rows that leak."""
        return len(self.pairs) / self.rows

    def __str__(self) -> str:
        return f"{len(self.pairs)} of {self.rows} rows have an input that is in the other part too"


def duplicates(dataset: Dataset) -> Duplicates:
    """Return the inputs that occur more than once, in the order of their first row."""
    found: dict[str, list[int]] = {}
    for position, key in enumerate(_inputs(dataset.examples)):
        found.setdefault(key, []).append(position)
    repeated = [tuple(positions) for positions in found.values() if len(positions) > 1]
    conflicting = [
        positions
        for positions in repeated
        if len({canonical_json(dataset.examples[position].output) for position in positions}) > 1
    ]
    return Duplicates(tuple(repeated), tuple(conflicting))


def leakage(first: Dataset, second: Dataset) -> Leakage:
    """Return the rows of `second` whose input is in `first` too, whatever their output."""
    known: dict[str, int] = {}
    for position, key in enumerate(_inputs(first.examples)):
        known.setdefault(key, position)
    pairs = [(position, known[key]) for position, key in enumerate(_inputs(second.examples)) if key in known]
    return Leakage(tuple(pairs), len(second))


def _inputs(examples: Sequence[Example]) -> list[str]:
    return [canonical_json(example.input) for example in examples]
