"""The settings of a reflective evolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dspex_coordination.errors import OptimizerError

_MERGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectiveSettings:
    """What may be set.

    | setting | meaning |
    |---|---|
    | `minibatch` | train rows on which a child is compared with its parent |
    | `every_call` | chance from 0 to 1 that an attempt rewrites every model call together, rather than one in turn |
    | `vary` | chance from 0 to 1 that an attempt changes other variables, not instructions; moved by success |
    | `at_once`, `at_once_each` | attempts under way together, in all and with one parent |
    | `merges` | most merges of two candidates; None: 5, or 0 where only one thing can change |
    | `parts` | looks at the validation split before all of it is seen, each twice the one before |
    | `patience` | attempts without a new best candidate after which the search ends |
    | `most_chars` | characters of an instruction; one that is longer at first may stay as long |
    | `runs_shown`, `prompt_chars` | runs, and their characters together, that a reflection is shown |
    """

    minibatch: int = 6
    every_call: float = 0.25
    vary: float = 0.25
    at_once: int = 4
    at_once_each: int = 1
    merges: int | None = None
    parts: int = 3
    patience: int = 30
    most_chars: int = 4_000
    runs_shown: int = 6
    prompt_chars: int = 24_000

    @staticmethod
    def of(owner: str, given: Mapping[str, Any]) -> ReflectiveSettings:
        """Check the settings. Raises OptimizerError with everything that is wrong."""
        known = [one.name for one in fields(ReflectiveSettings)]
        strange = [name for name in given if name not in known]
        if strange:
            raise OptimizerError(f"{owner} has no settings {strange}; it has {known}.")
        made = ReflectiveSettings(**given)
        least = {
            "minibatch": 1,
            "at_once": 1,
            "at_once_each": 1,
            "parts": 1,
            "patience": 1,
            "most_chars": 100,
            "runs_shown": 1,
        }
        least |= {"prompt_chars": 500} | ({} if made.merges is None else {"merges": 0})
        problems = [
            f"{name} must be at least {low}, got {getattr(made, name)}"
            for name, low in least.items()
            if getattr(made, name) < low
        ]
        problems += [
            f"{name} must be from 0 to 1, got {getattr(made, name)}"
            for name in ("vary", "every_call")
            if not 0 <= getattr(made, name) <= 1
        ]
        if problems:
            raise OptimizerError(f"{owner}: {'; '.join(problems)}.")
        return made

    def merges_for(self, changeable: int) -> int:
        """Return how many merges there may be where so many variables can change."""
        if self.merges is not None:
            return self.merges
        return _MERGES if changeable > 1 else 0
