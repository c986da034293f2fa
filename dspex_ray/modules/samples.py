"""`sampling`: what the modules that ask repeatedly got on the way to their output."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dspex_ray.errors import OutputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer that a module got: its number from 0 on, and an output or the error there was instead.

    `place` is where the module stands in the whole program, empty for the whole. `advice` is what the try was told.
    """

    number: int
    place: str = ""
    output: Any = None
    error: OutputError | None = None
    score: float | None = None
    feedback: str | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """How samples agreed: `votes` of `samples` were for the winner; `saved` of those planned were not taken."""

    place: str
    output: Any
    votes: int
    samples: int
    saved: int

    @property
    def agreement(self) -> float:
        """The winner's share of the samples taken, failed ones too, from 0 to 1."""
        return self.votes / self.samples


@dataclass(slots=True)
class SamplingLog:
    """The samples and votes there were while it listened, in the order they counted."""

    samples: list[Sample] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)


_logs: contextvars.ContextVar[tuple[SamplingLog, ...]] = contextvars.ContextVar("dspex_sampling_logs", default=())


@contextmanager
def sampling() -> Iterator[SamplingLog]:
    """Listen to the samples and votes of `BestOfN`, `Refine` and `SelfConsistency` in this task and those it starts."""
    log = SamplingLog()
    token = _logs.set((*_logs.get(), log))
    try:
        yield log
    finally:
        _logs.reset(token)


def note(found: Sample | Vote) -> None:
    """Tell every listening log."""
    for log in _logs.get():
        if isinstance(found, Sample):
            log.samples.append(found)
        else:
            log.votes.append(found)
