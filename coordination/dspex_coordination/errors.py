"""Every error of the middle floor.

CoordinationError               one root; `except CoordinationError` catches all of this floor
├── VariableError               a variable that cannot be defined, or a value outside its domain
│   └── UnboundVariableError    a variable read from or written to an object that holds no such value
├── SpaceError                  a space or a candidate that breaks it; `problems` lists every violation
│   └── InfeasibleSpaceError    no candidate keeps all constraints, or none was found within a bounded search
├── OptimizerError              an optimizer that cannot work on this space, or was called out of turn
│   └── UnknownOptimizerError   no optimizer of that name, with near matches
└── SweepError                  a sweep that failed; the message says how to resume
    ├── JournalError            a journal that cannot be read, or contradicts itself
    ├── ResumeError             a journal of another program, space or data; says what changed
    └── UnknownSweepError       no sweep of that run id, with near matches
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CoordinationError(Exception):
    """Root of every error this floor raises."""


class VariableError(CoordinationError):
    """A variable that cannot be defined, or a value outside its domain."""


class UnboundVariableError(VariableError, AttributeError):
    """A variable read from or written to an object without such a value; `hasattr` sees it as an absent attribute."""


class SpaceError(CoordinationError):
    """A space or candidate that is wrong. `problems` holds (variable name, message) for every violation."""

    def __init__(self, message: str, problems: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, problems)
        self.message, self.problems = message, problems

    def __str__(self) -> str:
        return self.message


class InfeasibleSpaceError(SpaceError):
    """No candidate keeps all constraints, or none was found; `problems` names the constraints in the way."""


class OptimizerError(CoordinationError):
    """An optimizer that cannot work on this space, or was called out of turn."""


class UnknownOptimizerError(OptimizerError):
    """No optimizer has this name."""


class SweepError(CoordinationError):
    """A sweep that failed; the message says why and how to resume."""


class JournalError(SweepError):
    """A journal that cannot be read, or contradicts itself."""


class ResumeError(SweepError):
    """A recorded sweep that the given program, space, data, seed or optimizer cannot continue."""


class UnknownSweepError(SweepError):
    """No sweep of this run id is in the store."""


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return a sentence that offers the known names closest to `name`, for the end of an error message."""
    options = sorted(set(known))
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    shown = ", ".join(options[:20]) + (", ..." if len(options) > 20 else "")  # noqa: PLR2004 - one line of names
    return f"{hint}Known: {shown or 'none'}."
