"""`rollout`: repeated samples of the same question, told apart in every cache."""

from __future__ import annotations

import contextvars
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from dspex_ray.errors import UsageError
from dspex_ray.problems import shown

_DIGITS = 12
_FIRST_JOINED = 1 << 49  # above what a caller would count to, and below what JSON's readers lose precision at

_rollout: contextvars.ContextVar[int] = contextvars.ContextVar("dspex_rollout", default=0)


@contextmanager
def rollout(number: int) -> Iterator[None]:
    """Let the model calls within be those of sample `number`: equal calls of other samples are other cache entries.

    0 changes nothing. Within another rollout the two numbers are joined, the same way each time. Raises UsageError for
    what is no whole number from 0 on.
    """
    token = _rollout.set(joined_rollout(number))
    try:
        yield
    finally:
        _rollout.reset(token)


def joined_rollout(number: int) -> int:
    """Return the id of sample `number` within the present rollout; 0 outside of any."""
    if type(number) is not int or number < 0:
        raise UsageError(f"A rollout is a whole number from 0 on, got {shown(number)}.")
    outer = _rollout.get()
    if not number:
        return outer
    if not outer:
        return number
    return _FIRST_JOINED + int(hashlib.sha256(f"{outer}/{number}".encode()).hexdigest()[:_DIGITS], 16)
