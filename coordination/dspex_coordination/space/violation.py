"""`Violation`: one thing that is wrong with a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dspex_coordination.errors import InfeasibleSpaceError, SpaceError


@dataclass(frozen=True, slots=True)
class Violation:
    """The variables it is about, what is wrong, and a change that would mend it if one is known."""

    names: tuple[str, ...]
    message: str
    fix: str | None = None

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message.rstrip('.')}. Fix: {self.fix.rstrip('.')}."


def space_error(heading: str, violations: Iterable[Violation]) -> SpaceError:
    """Return a SpaceError that lists every violation."""
    return SpaceError(*_listed(heading, violations))


def infeasible(heading: str, violations: Iterable[Violation]) -> InfeasibleSpaceError:
    """Return an InfeasibleSpaceError that lists the constraints in the way."""
    return InfeasibleSpaceError(*_listed(heading, violations))


def _listed(heading: str, violations: Iterable[Violation]) -> tuple[str, tuple[tuple[str, str], ...]]:
    listed = tuple(violations)
    lines = "".join(f"\n  - {violation}" for violation in listed)
    return f"{heading}:{lines}", tuple((", ".join(one.names), str(one)) for one in listed)
