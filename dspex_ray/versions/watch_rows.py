"""Which rows of a growing data file a watch scores, holds out and learns from."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_coordination.canonical import digest
from dspex_ray.data import Dataset
from dspex_ray.errors import DataError
from dspex_ray.store import Store, Version
from dspex_ray.versions.leaks import leaks_of
from dspex_ray.versions.origin import input_id

_HELD_SHARE = 3


@dataclass(frozen=True, slots=True)
class WatchRows:
    """Parts of a data set in its order, oldest first: `unseen` is all that a version has not seen.

    `held` is the third of `unseen` to judge by and `learnt` every other row of the data. An input, or its group, is
    held out or not by what it is, so it stays so as the data grows, and no later version has learnt from it either.
    """

    unseen: tuple[int, ...]
    held: tuple[int, ...]
    learnt: tuple[int, ...]

    @staticmethod
    def of(dataset: Dataset, version: Version, store: Store) -> WatchRows:
        """Return the parts for the version that a label names."""
        seen = {row for leak in leaks_of(version, dataset, store) for row in leak.rows}
        keys = map(input_id, dataset.examples) if dataset.groups is None else map(digest, dataset.groups)
        apart = {row for row, key in enumerate(keys) if int(key[:8], 16) % _HELD_SHARE == 0}
        unseen = tuple(row for row in range(len(dataset)) if row not in seen)
        learnt = tuple(row for row in range(len(dataset)) if row not in apart or row in seen)
        return WatchRows(unseen, tuple(row for row in unseen if row in apart), learnt)

    def newest(self, most: int, least: int, version: int, dataset: Dataset) -> Dataset:
        """Return the newest rows not seen by `version`. Raises DataError if there are fewer than `least`."""
        if len(self.unseen) < least:
            raise DataError(
                f"{dataset.source} holds {len(self.unseen)} rows that version {version} has not seen; at least {least} "
                "are needed to tell how it does."
            )
        return part(dataset, self.unseen[-most:], "newest")


def part(dataset: Dataset, rows: tuple[int, ...], name: str) -> Dataset:
    """Return some rows of a data set, in its order. Raises DataError for none."""
    groups = None if dataset.groups is None else tuple(dataset.groups[row] for row in rows)
    return Dataset(tuple(dataset.examples[row] for row in rows), f"{dataset.source} ({name})", groups)
