"""Search spaces: variables, the order in which they get their values, and the constraints between them."""

from __future__ import annotations

from dspex_coordination.space.constraint import Constraint, at_most_one, exactly_one
from dspex_coordination.space.space import Space
from dspex_coordination.space.violation import Violation

__all__ = ["Constraint", "Space", "Violation", "at_most_one", "exactly_one"]
