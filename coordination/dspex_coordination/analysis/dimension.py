"""`Dimension`: one variable of a search as an axis, with the place of every trial on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dspex_coordination.candidate import Candidate
from dspex_coordination.canonical import canonical_json
from dspex_coordination.space import Space
from dspex_coordination.variables import Demos, Variable

Tick = tuple[float, str]
_STEPS = 50  # the finest grid of a numeric dimension; the resolution of PED-ANOVA in its reference implementation
_TICKS = 5
_MOST_OPTIONS = 256
_SHOWN = 28


@dataclass(frozen=True, slots=True)
class Dimension:
    """An axis from 0 to 1; `values` and `positions` have one entry a trial, None where the variable was inactive.

    Options of a nominal axis lie evenly in the order of their declaration. `steps` is the number of places that count
    as different: options, or cells of a number's range. `free` says whether a search sets it; a computed one is not.
    """

    name: str
    kind: Literal["numeric", "nominal"]
    values: tuple[Any, ...]
    positions: tuple[float | None, ...]
    ticks: tuple[Tick, ...]
    steps: int
    free: bool = True

    @property
    def active(self) -> int:
        """In how many trials it was active."""
        return sum(position is not None for position in self.positions)


def dimensions(space: Space, candidates: Sequence[Candidate]) -> tuple[Dimension, ...]:
    """Return the axes of a space in declaration order, with these candidates on them.

    A set of demonstrations gives two: how they are selected, and how many there are. What is computed, and text without
    a list of options, has the values that occur. Candidates must be of this space.
    """
    active = [space.active(candidate.values) for candidate in candidates]
    found: list[Dimension] = []
    for name, variable in space.variables.items():
        column = [
            candidate.values[name] if name in alive else None
            for candidate, alive in zip(candidates, active, strict=True)
        ]
        present = [name in alive for alive in active]
        found += _of(variable, name, column, present)
    return tuple(found)


def _of(variable: Variable[Any], name: str, column: list[Any], present: list[bool]) -> Iterator[Dimension]:
    if isinstance(variable, Demos):
        modes = [value["select"] if here else None for value, here in zip(column, present, strict=True)]
        counts = [_count(value) if here else None for value, here in zip(column, present, strict=True)]
        options = [*variable.select, *(["given"] if "given" in modes else [])]
        yield _nominal(f"{name}.select", options, modes, present)
        most = max(1, variable.max)
        yield _numeric(f"{name}.count", counts, present, lambda count: count / most, range(variable.max + 1))
    elif variable.scale in ("real", "ordinal"):
        grid = variable.grid(_TICKS)
        yield _numeric(name, column, present, variable.unit, grid, variable.cardinality)
    elif variable.scale == "nominal":
        yield _nominal(name, variable.grid(_MOST_OPTIONS), column, present)
    else:
        yield _observed(name, column, present, free=variable.scale != "computed")


def _count(value: Mapping[str, Any]) -> int:
    return int(value["k"]) if value["select"] == "nearest" else len(value.get("ids") or value.get("demos") or ())


def _numeric(
    name: str,
    column: list[Any],
    present: list[bool],
    place: Callable[[Any], float],
    grid: Sequence[Any],
    cardinality: int | None = None,
) -> Dimension:
    positions = tuple(place(value) if here else None for value, here in zip(column, present, strict=True))
    shown = [grid[round(i * (len(grid) - 1) / (_TICKS - 1))] for i in range(_TICKS)] if len(grid) > _TICKS else grid
    ticks = tuple((place(value), _label(value)) for value in shown)
    steps = min(_STEPS, cardinality or (len(grid) if isinstance(grid, range) else _STEPS))
    return Dimension(name, "numeric", tuple(column), positions, ticks, steps)


def _nominal(
    name: str, options: Sequence[Any], column: list[Any], present: list[bool], *, free: bool = True
) -> Dimension:
    keys = {canonical_json(option): option for option in options}
    for value, here in zip(column, present, strict=True):
        if here:
            keys.setdefault(canonical_json(value), value)  # one that is valid but never drawn, or not on the grid
    places = {key: i / max(1, len(keys) - 1) for i, key in enumerate(keys)}
    positions = tuple(
        places[canonical_json(value)] if here else None for value, here in zip(column, present, strict=True)
    )
    ticks = tuple((places[key], _label(option)) for key, option in keys.items())
    return Dimension(name, "nominal", tuple(column), positions, ticks, len(keys), free)


def _observed(name: str, column: list[Any], present: list[bool], *, free: bool) -> Dimension:
    seen = [value for value, here in zip(column, present, strict=True) if here]
    if seen and all(isinstance(value, int | float) and not isinstance(value, bool) for value in seen):
        low, high = min(seen), max(seen)
        positions = tuple(
            ((value - low) / (high - low) if high > low else 0.5) if here else None
            for value, here in zip(column, present, strict=True)
        )
        ticks = ((0.0, _label(low)), (1.0, _label(high))) if high > low else ((0.5, _label(low)),)
        return Dimension(name, "numeric", tuple(column), positions, ticks, min(_STEPS, len(set(seen))), free)
    return _nominal(name, (), column, present, free=free)


def _label(value: Any) -> str:
    text = value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else canonical_json(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
