"""Held-out rows that a version has seen: in what it shows or is told, or in the rows it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dspex_coordination.canonical import canonical_json, digest
from dspex_ray.data import Dataset
from dspex_ray.example import Example
from dspex_ray.store import Store, Version
from dspex_ray.versions.contents import shown_in, told_in
from dspex_ray.versions.origin import input_id

_LEAST_COPIED = 20
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Leak:
    """The rows of held-out data, counted from 0, whose inputs are also in `where`."""

    where: str
    rows: tuple[int, ...]

    def __str__(self) -> str:
        named = ", ".join(str(row + 1) for row in self.rows[:_NAMED]) + (", ..." if len(self.rows) > _NAMED else "")
        return f"{len(self.rows)} held-out rows are in {self.where} of the version: rows {named}"


def leaks_of(version: Version, held_out: Dataset, store: Store) -> tuple[Leak, ...]:
    """Return where held-out inputs were seen by a version; () for none, or where nothing is known of its making."""
    return tuple(Leak(where, rows) for where, rows in _found(version, held_out, store) if rows)


def _found(version: Version, held_out: Dataset, store: Store) -> Iterator[tuple[str, tuple[int, ...]]]:
    ids = [input_id(example) for example in held_out.examples]
    demos = {digest(demo["input"]) for shown in shown_in(version).values() for demo in shown.demos}
    yield "the demonstrations", tuple(row for row, one in enumerate(ids) if one in demos)
    for name, split in (version.facts.get("splits") or {}).items():
        known = store.data_rows(split["fingerprint"]) or frozenset()
        yield f"the {name} rows", tuple(row for row, one in enumerate(ids) if one in known)
    told = " ".join(" ".join(told_in(version).values()).split()).casefold()
    yield "the instructions", tuple(row for row, one in enumerate(held_out.examples) if _is_copied(one, told))


def _is_copied(example: Example, told: str) -> bool:
    texts = [value if isinstance(value, str) else canonical_json(value) for value in example.input.values()]
    plain = [" ".join(text.split()).casefold() for text in texts]
    return any(len(text) >= _LEAST_COPIED and text in told for text in plain)
