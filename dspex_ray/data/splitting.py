"""Which rows are held out: seeded, spread over the labels, whole groups only."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_ray.errors import DataError
from dspex_ray.problems import shown


def linked(keys: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return the positions in classes, by first appearance: those with a common key, directly or through others."""
    parents = list(range(len(keys)))

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = parents[parents[position]]
            position = parents[position]
        return position

    owners: dict[str, int] = {}
    for position, mine in enumerate(keys):
        for key in mine:
            one, two = root(owners.setdefault(key, position)), root(position)
            parents[max(one, two)] = min(one, two)
    units: dict[int, list[int]] = {}
    for position in range(len(keys)):
        units.setdefault(root(position), []).append(position)
    return list(units.values())


def held_out_units(units: Sequence[list[int]], strata: Sequence[str], target: int, rng: random.Random) -> set[int]:
    """Return about `target` positions: of each stratum as many units as its share of them."""
    by_label = _by_label(units, strata)
    quotas = _quotas({label: len(members) for label, members in by_label.items()}, target)
    held: set[int] = set()
    for label in sorted(by_label):
        members = by_label[label]
        rng.shuffle(members)
        for unit in members[: quotas[label]]:
            if not held or len(held) + len(unit) <= target:
                held.update(unit)
    return held


def held_out_rows(units: Sequence[list[int]], strata: Sequence[str], target: int, rng: random.Random) -> set[int]:
    """Return at most `target` positions: of each stratum its share of rows, then what still fits.

    Exactly `target` where every unit is one row.
    """
    by_label = _by_label(units, strata)
    total = sum(len(unit) for unit in units)
    held: set[int] = set()
    left: list[list[int]] = []
    for label in sorted(by_label):
        members = by_label[label]
        rng.shuffle(members)
        room = target * sum(map(len, members)) // total if total else 0
        for unit in members:
            if len(unit) <= room:
                held.update(unit)
                room -= len(unit)
            else:
                left.append(unit)
    rng.shuffle(left)
    for unit in left:
        if len(held) + len(unit) <= target:
            held.update(unit)
    return held


def targets(sizes: Mapping[str, Any], total: int, source: str) -> dict[str, int]:
    """Return how many rows each part gets. Raises DataError for sizes that are none or do not fit."""
    if not sizes:
        raise DataError("A split needs at least one part, such as {'train': 0.8, 'test': 0.2}.")
    bad = {name: size for name, size in sizes.items() if not _is_size(size)}
    if bad:
        raise DataError(f"A part's size is a count of rows or a share between 0 and 1, got {shown(bad)}.")
    shares = math.fsum(size for size in sizes.values() if isinstance(size, float))
    if shares > 1 + 1e-9:
        raise DataError(f"The shares of the parts sum to {shares:.4g}, more than 1.")
    wanted = {name: size if isinstance(size, int) else int(size * total + 1e-9) for name, size in sizes.items()}
    spare = min(total, round(shares * total)) - sum(n for name, n in wanted.items() if isinstance(sizes[name], float))
    for name in sorted(wanted, key=lambda one: -(sizes[one] * total % 1)):
        if spare > 0 and isinstance(sizes[name], float):
            wanted[name] += 1
            spare -= 1
    empty = [name for name, count in wanted.items() if not count]
    if empty or sum(wanted.values()) > total:
        told = f"the part {empty[0]!r} would be empty" if empty else f"the parts need {sum(wanted.values())}"
        raise DataError(f"{source} holds {total} rows; {told}.")
    return wanted


def _is_size(size: object) -> bool:
    if isinstance(size, bool):
        return False
    return (isinstance(size, int) and size >= 1) or (isinstance(size, float) and 0 < size <= 1)


def _by_label(units: Sequence[list[int]], strata: Sequence[str]) -> dict[str, list[list[int]]]:
    found: dict[str, list[list[int]]] = {}
    for unit in units:
        found.setdefault(strata[unit[0]], []).append(unit)
    return found


def _quotas(sizes: Mapping[str, int], target: int) -> dict[str, int]:
    """Share `target` over strata by size with largest remainders, leaving one of each for training where possible."""
    total = sum(sizes.values())
    target = min(target, total - 1)
    room = {label: max(size - 1, 0) for label, size in sizes.items()}
    if sum(room.values()) < target:
        room = dict(sizes)  # labels that occur once: hold some of them out whole
    exact = {label: target * size / total for label, size in sizes.items()}
    quotas = {label: min(int(exact[label]), room[label]) for label in sizes}
    order = sorted(sizes, key=lambda label: (int(exact[label]) - exact[label], label))
    left = target - sum(quotas.values())
    while left > 0:
        for label in order:
            if left > 0 and quotas[label] < room[label]:
                quotas[label] += 1
                left -= 1
    return quotas
