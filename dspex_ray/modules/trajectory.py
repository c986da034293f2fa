"""What a module did on the way to its output: its turns, kept for whoever listens with `trajectories()`."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from dspex_ray.schema import Schema

_KEPT_CHARS = 200
_SHORTENED = "... (shortened)"


class Turn(Schema):
    """One step: what the model thought, the tool it called and how, and what came of it."""

    thought: str
    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    observation: str = ""


class Attempt(Schema):
    """One piece of code and what came of it: what it printed, its value, its error."""

    code: str
    printed: str = ""
    value: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The turns of one call of a module: `Turn`s of a ReAct, `Attempt`s of a ProgramOfThought.

    `program` is the module's path and `place` where it stands in a whole; `ended` tells whether it came to its end by
    itself, used up its bound, or raised.
    """

    program: str
    place: str
    turns: tuple[Any, ...]
    ended: Literal["done", "bound", "error"]


_listeners: contextvars.ContextVar[tuple[deque[Trajectory], ...]] = contextvars.ContextVar(
    "dspex_trajectories", default=()
)


@contextmanager
def trajectories(most: int = 1000) -> Iterator[deque[Trajectory]]:
    """Listen to the modules called by this task and by those it starts; the last `most` trajectories are kept.

    An output has no room for how it was reached; this is where it is told, in the order the calls ended, failed ones
    too. A listener around this one hears of them as well.
    """
    heard: deque[Trajectory] = deque(maxlen=most)
    token = _listeners.set((*_listeners.get(), heard))
    try:
        yield heard
    finally:
        _listeners.reset(token)


def tell(trajectory: Trajectory) -> None:
    """Tell every listener of a trajectory."""
    for heard in _listeners.get():
        heard.append(trajectory)


def shortened(turns: Sequence[Turn]) -> list[Turn] | None:
    """Return the turns with half the text of observations, the oldest shortened first; None if none is left to shorten.

    Each call takes something away, so that repeating it comes to an end.
    """
    excess = sum(len(turn.observation) for turn in turns) // 2
    made: list[Turn] = []
    for turn in turns:
        saved = len(turn.observation) - _KEPT_CHARS - len(_SHORTENED)
        if excess > 0 and saved > 0:
            excess -= saved
            made.append(turn.model_copy(update={"observation": turn.observation[:_KEPT_CHARS] + _SHORTENED}))
        else:
            made.append(turn)
    return made if made != list(turns) else None
