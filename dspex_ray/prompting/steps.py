"""`kept_steps`: what each model call of a program was given and answered, for those who learn from it."""

from __future__ import annotations

import contextvars
from typing import Any

from dspex_ray.context_value import Within

MOST_STEPS = 64
"""Of one run of a program; what comes after is not kept."""

Steps = list[dict[str, Any]]
"""In the order in which the calls ended: `place`, `input`, and `output` or `error`, all JSON."""

_steps: contextvars.ContextVar[Steps | None] = contextvars.ContextVar("dspex_steps", default=None)


def kept_steps() -> Within[Steps]:
    """Keep the steps of the typed model calls within, those of sub-programs too; entering gives the list."""
    steps: Steps = []
    return Within(_steps, steps, steps)


def wants_steps() -> bool:
    """Say whether somebody keeps steps here."""
    return _steps.get() is not None


def keep_step(place: str, given: dict[str, Any], **outcome: Any) -> None:
    """Keep one step, with its `output` or its `error`."""
    steps = _steps.get()
    if steps is not None and len(steps) < MOST_STEPS:
        steps.append({"place": place, "input": given, **outcome})
