"""The contract of a plan: work that a coordinator hands to task agents, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Work:
    """One unit of work. Units of equal `affinity` go to the same agent while it lives and has room.

    Only agents with **all** the capabilities in `needs` may do it. One attempt takes at most `timeout_s` seconds, and
    after a loss to infrastructure there are further ones, `attempts` in all; None is what the coordinator was given for
    all work. Members in `avoid`, and the one that the unit `apart_from` is with, are asked only when no other can.
    """

    id: str
    payload: Any
    affinity: str | None = None
    cost_hint: float = 1.0
    needs: frozenset[str] = frozenset()
    timeout_s: float | None = None
    attempts: int | None = None
    avoid: frozenset[str] = frozenset()
    apart_from: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit was not done: `infrastructure` (a process, a network, a deadline), or `program` (its own code)."""

    kind: Literal["infrastructure", "program"]
    type: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit: a value, or a failure. `worker` names the agent, `duration_s` its wall time."""

    work_id: str
    value: Any = None
    error: Failure | None = None
    worker: str = ""
    duration_s: float = 0.0


class Plan(Protocol):
    """A state machine that a `PlanRun` drives. All methods run on one thread, never two at a time.

    Order of calls: `open`, then any mix of `pull`, `push`, `cancel` and `progress` until `finished`, then `result` and
    `close`. A method that raises ends the plan: `close` is called, and whoever asked gets that error. Every unit that
    was pulled comes back in a `push` once, unless the plan ends before.
    """

    def open(self) -> None:
        """Prepare; read a journal if there is one. Called once, before anything else."""
        ...

    def pull(self, limit: int, now: float) -> Sequence[Work]:
        """Return at most `limit` units to do next; an empty sequence when nothing can start right now."""
        ...

    def push(self, outcomes: Sequence[Outcome], now: float) -> None:
        """Take in results, one call for all that arrived together. What must survive is durable on return."""
        ...

    def finished(self) -> bool:
        """Say whether the plan has its result."""
        ...

    def result(self) -> Any:
        """Return the result. Called once, when finished."""
        ...

    def progress(self) -> Mapping[str, Any]:
        """Return where the plan stands, as JSON values. Cheap; called at any time after `open`.

        `percent` there, from 0 to 100, is what a run's status shows; a plan that cannot tell leaves it out.
        """
        ...

    def cancel(self, reason: str) -> None:
        """Stop handing out work; the plan finishes once what is in flight has come back."""
        ...

    def close(self) -> None:
        """Let go of resources. Called once, last."""
        ...


@runtime_checkable
class ShowsResults(Protocol):
    """What a plan has besides when its results can be looked at while it runs."""

    def results(self) -> Mapping[str, Any]:
        """Return the values of the units done so far, by id. Called at any time, from another thread too."""
        ...


@runtime_checkable
class Revisited(Protocol):
    """What a plan has besides when it also hears of things that are no outcomes, such as the time."""

    def revisit(self, now: float) -> float:
        """Look around; return within how many seconds the next visit must come. Called at the start of each visit.

        Such a plan may be unfinished with nothing in flight and no work to offer: it waits for something else.
        """
        ...
