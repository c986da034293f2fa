"""The settings of a reflective evolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dspex_coordination.errors import OptimizerError

_CHANCES = ("every_call", "vary", "show", "cross", "validation_share")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectiveSettings:
    """What may be set.

    | setting | meaning |
    |---|---|
    | `minibatch` | train rows on which a child is compared with its parent |
    | `every_call` | chance from 0 to 1 that an attempt rewrites every model call together, rather than one in turn |
    | `vary` | chance from 0 to 1 that an attempt changes other variables, not instructions; moved by success |
    | `show` | chance from 0 to 1 that an attempt with new instructions shows more demonstrations too |
    | `cross` | chance from 0 to 1 that a reflection is shown the instructions of others that did better on mistakes |
    | `at_once`, `at_once_each` | attempts under way together, in all and with one parent |
    | `parts` | looks at the validation split before all of it is seen, each twice the one before |
    | `validation_share` | share of the rows paid for after the baseline, above which train rows come first |
    | `patience` | attempts without a new best candidate after which the search ends |
    | `most_chars` | characters of an instruction; one that is longer at first may stay as long |
    | `runs_shown`, `prompt_chars` | runs, and their characters together, that a reflection is shown |
    """

    minibatch: int = 6
    every_call: float = 0.25
    vary: float = 0.25
    show: float = 0.5
    cross: float = 0.5
    at_once: int = 4
    at_once_each: int = 3
    parts: int = 3
    validation_share: float = 0.5
    patience: int = 150
    most_chars: int = 4_000
    runs_shown: int = 8
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
        least |= {"prompt_chars": 500}
        problems = [
            f"{name} must be at least {low}, got {getattr(made, name)}"
            for name, low in least.items()
            if getattr(made, name) < low
        ]
        problems += [
            f"{name} must be from 0 to 1, got {getattr(made, name)}"
            for name in _CHANCES
            if not 0 <= getattr(made, name) <= 1
        ]
        if problems:
            raise OptimizerError(f"{owner}: {'; '.join(problems)}.")
        return made
