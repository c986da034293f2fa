"""`Dataset`: the examples of one program, and how they are split without leaks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dspex_coordination.canonical import canonical_json
from dspex_ray.data.splitting import held_out_rows, held_out_units, linked, targets
from dspex_ray.errors import DataError
from dspex_ray.example import Example

_TWO = 2


@dataclass(frozen=True)
class Dataset:
    """Examples of one program, in the order of the source; `groups` is each example's group, if any.

    Rows of one group stay on one side of every split. Raises DataError without any row.
    """

    examples: tuple[Example, ...]
    source: str
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.examples:
            raise DataError(f"{self.source} holds no rows.")
        if self.groups is not None and len(self.groups) != len(self.examples):
            raise DataError(f"{self.source}: {len(self.examples)} rows need as many groups, got {len(self.groups)}.")

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all rows, in their order."""
        return hashlib.sha256("\n".join(example.id for example in self.examples).encode()).hexdigest()

    def first(self, count: int) -> Dataset:
        """Return the first rows."""
        return self if count >= len(self) else self._part(range(count), self.source)

    def without(self, other: Dataset) -> Dataset:
        """Return the rows whose input is not in `other`, whatever their output. Raises DataError if none is left."""
        known = {canonical_json(example.input) for example in other.examples}
        kept = [row for row, example in enumerate(self.examples) if canonical_json(example.input) not in known]
        if not kept:
            raise DataError(f"{self.source}: each of its inputs is in {other.source} too.")
        return self if len(kept) == len(self) else self._part(kept, self.source)

    def split(self, seed: int, validation: float = 0.2, max_validation: int = 1000) -> tuple[Dataset, Dataset]:
        """Return (train, validation), the same for the same rows and seed, both in the source's order.

        `validation` is the share held out, at most `max_validation` rows, spread over the labels as they occur. Rows
        with the same input or group stay on one side, so that no answer leaks. Raises DataError if both sides cannot
        be filled.
        """
        if not 0 < validation < 1:
            raise DataError(f"validation must be a share between 0 and 1, got {validation!r}.")
        if max_validation < 1:
            raise DataError(f"max_validation must be at least 1, got {max_validation!r}.")
        units = self._units(_TWO)
        target = min(max(1, round(len(self) * validation)), max_validation)
        draw = held_out_units if self.groups is None else held_out_rows
        held = draw(units, self._strata(), target, random.Random(seed))  # noqa: S311 - no secret
        train = [position for position in range(len(self)) if position not in held]
        if not held or not train:
            raise DataError(
                f"{self.source}: no group fits a validation part of {target} of {len(self)} rows; ask for more, or "
                "give rows of their own to choose by (--validation)."
            )
        return self._part(train, f"{self.source} (train)"), self._part(sorted(held), f"{self.source} (validation)")

    def splits(self, sizes: Mapping[str, float], *, seed: int, stratify: bool = True) -> dict[str, Dataset]:
        """Return named parts without a common row, input or group, each in the source's order.

        `sizes` are counts of rows (int) or shares of them (float), such as `{"train": 0.8, "test": 0.2}`; rows beyond
        them belong to no part. With `stratify` every part has the labels as they occur. Where groups are large a part
        may be smaller than asked for. Raises DataError for sizes that do not fit and for a part that stays empty.
        """
        wanted = targets(sizes, len(self), self.source)
        rest = self._units(len(wanted))
        strata = self._strata() if stratify else [""] * len(self)
        rng = random.Random(seed)  # noqa: S311 - no secret
        parts: dict[str, Dataset] = {}
        # the smallest part first: it is the one a large group could keep empty
        for name in sorted(wanted, key=lambda part: (wanted[part], part)):
            held = held_out_rows(rest, strata, wanted[name], rng)
            if not held:
                raise DataError(f"{self.source}: no group of rows fits the part {name!r} of {wanted[name]} rows.")
            parts[name] = self._part(sorted(held), f"{self.source} ({name})")
            rest = [unit for unit in rest if unit[0] not in held]
        return {name: parts[name] for name in wanted}

    def _units(self, least: int) -> list[list[int]]:
        """Return the positions that must stay together: those with a common input or group."""
        keys = [[f"input {canonical_json(example.input)}"] for example in self.examples]
        for position, group in enumerate(self.groups or ()):
            keys[position].append(f"group {group}")
        units = linked(keys)
        if len(units) < least:
            what = "different input(s)" if self.groups is None else "different group(s) of rows"
            raise DataError(
                f"{self.source} holds {len(units)} {what}; a split needs at least {least}. Add rows, or give "
                f"rows of their own to choose by (--validation)."
            )
        return units

    def _strata(self) -> list[str]:
        return [example.label or "" for example in self.examples]

    def _part(self, positions: Sequence[int], source: str) -> Dataset:
        groups = None if self.groups is None else tuple(self.groups[i] for i in positions)
        return Dataset(tuple(self.examples[i] for i in positions), source, groups)
