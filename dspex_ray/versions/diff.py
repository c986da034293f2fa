"""What tells two versions of a program apart: instructions, demonstrations, values, model, schema, figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_ray.errors import UsageError
from dspex_ray.store import Version
from dspex_ray.versions.contents import Shown, other_values, shown_in, told_in
from dspex_ray.versions.words import Piece, word_diff

_FIGURES = ("score", "low", "high", "train", "gap", "expected", "baseline", "cost_usd", "calls", "trials", "optimizer")


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None where a version has none."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a model call is told, word by word; `place` is the path of the part, empty for the whole."""

    place: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """What a `Demos` variable shows: those added and removed, whether those of both stand in another order."""

    name: str
    before: str
    after: str
    added: tuple[Mapping[str, Any], ...]
    removed: tuple[Mapping[str, Any], ...]
    reordered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDiff:
    """What differs from the version `first` to the version `second`. `figures` alone make no other program."""

    program: str
    first: int
    second: int
    instructions: tuple[Instruction, ...]
    demonstrations: tuple[Demonstrations, ...]
    values: tuple[Change, ...]
    model: Change | None
    schema: tuple[Change, ...]
    figures: tuple[Change, ...]

    @property
    def is_same(self) -> bool:
        """Whether both are the same program."""
        return not (self.instructions or self.demonstrations or self.values or self.model or self.schema)

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON."""
        return {**asdict(self), "same": self.is_same}


def diff(first: Version, second: Version) -> VersionDiff:
    """Return what differs between two versions with their states. Raises UsageError if their programs differ."""
    if first.program != second.program:
        raise UsageError(
            f"Only versions of one program can be compared, got {first.program}@{first.number} and "
            f"{second.program}@{second.number}."
        )
    one, two = first.facts, second.facts
    models = _changed({"model": _model(first)}, {"model": _model(second)})
    return VersionDiff(
        program=first.program,
        first=first.number,
        second=second.number,
        instructions=_instructions(told_in(first), told_in(second)),
        demonstrations=_demonstrations(shown_in(first), shown_in(second)),
        values=_changed(other_values(first), other_values(second)),
        model=models[0] if models else None,
        schema=_changed(_schema(one), _schema(two)) if one.get("interface") and two.get("interface") else (),
        figures=_changed({n: one.get(n) for n in _FIGURES}, {n: two.get(n) for n in _FIGURES}),
    )


def _model(version: Version) -> Any:
    return (version.state or {}).get("lm") or version.facts.get("model")


def _schema(facts: Mapping[str, Any]) -> dict[str, str]:
    interface = facts["interface"]
    return {f"{side}.{name}": text for side in ("input", "output") for name, text in interface.get(side, {}).items()}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    names = dict.fromkeys((*before, *after))
    pairs = [Change(name, before.get(name), after.get(name)) for name in names]
    return tuple(one for one in pairs if one.before != one.after)


def _instructions(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Instruction, ...]:
    changes = _changed(before, after)
    return tuple(Instruction(one.name, word_diff(one.before or "", one.after or "")) for one in changes)


def _demonstrations(before: Mapping[str, Shown], after: Mapping[str, Shown]) -> tuple[Demonstrations, ...]:
    nothing = Shown("none", None, ())
    names = dict.fromkeys((*before, *after))
    pairs = [(name, before.get(name, nothing), after.get(name, nothing)) for name in names]
    return tuple(_demonstration(name, one, two) for name, one, two in pairs if one != two)


def _demonstration(name: str, one: Shown, two: Shown) -> Demonstrations:
    ones, twos = [canonical_json(d) for d in one.demos], [canonical_json(d) for d in two.demos]
    common = Counter(ones) & Counter(twos)
    return Demonstrations(
        name=name,
        before=_told(one),
        after=_told(two),
        added=_beyond(two, twos, ones),
        removed=_beyond(one, ones, twos),
        reordered=[key for key in ones if key in common] != [key for key in twos if key in common],
    )


def _beyond(shown: Shown, mine: list[str], others: list[str]) -> tuple[Mapping[str, Any], ...]:
    left = Counter(others)
    found: list[Mapping[str, Any]] = []
    for demo, key in zip(shown.demos, mine, strict=True):
        if left[key]:
            left[key] -= 1
        else:
            found.append(demo)
    return tuple(found)


def _told(shown: Shown) -> str:
    if shown.select == "nearest":
        return f"the nearest {shown.k} of {len(shown.demos)}"
    return "none" if not shown.demos else f"{len(shown.demos)} {shown.select}"
