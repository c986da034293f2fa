"""Checks of single numbers: what counts as an integer, a real or a finite one."""

from __future__ import annotations

import math
import numbers
from typing import Any

from dspex_coordination.errors import VariableError

MAX_INTEGER = 2**53  # larger integers are not exact in every JSON reader


def real(value: Any, what: str) -> float:
    """Return `value` as a finite float; `bool` is no number. Raises VariableError that begins with `what`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise VariableError(f"{what} must be a number, got {value!r} ({type(value).__name__}).")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise VariableError(f"{what} must be finite, got {value!r}.")
    return number + 0.0  # -0.0 becomes 0.0, so that equal values have equal JSON


def integer(value: Any, what: str) -> int:
    """Return `value` as an int; `bool` is no integer. Raises VariableError that begins with `what`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise VariableError(f"{what} must be an integer, got {value!r} ({type(value).__name__}).")
    number = int(value)
    if abs(number) > MAX_INTEGER:
        raise VariableError(f"{what} must be between -2**53 and 2**53 to stay exact in JSON, got {number}.")
    return number


def flag(value: Any, what: str) -> bool:
    """Return `value` if it is True or False. Raises VariableError that begins with `what`."""
    if not isinstance(value, bool):
        raise VariableError(f"{what} must be True or False, got {value!r} ({type(value).__name__}).")
    return value


def spread(count: int, n: int) -> list[int]:
    """Return at most `n` distinct positions in `range(count)`, evenly spaced, both ends among them if n >= 2."""
    if n < 1:
        raise VariableError(f"grid(n): n must be at least 1, got {n}.")
    if n >= count:
        return list(range(count))
    if n == 1:
        return [0]
    return [i * (count - 1) // (n - 1) for i in range(n)]


def portion(value: Any, what: str) -> float:
    """Return `value` as a float in [0, 1]. Raises VariableError that begins with `what`."""
    number = real(value, f"{what}: a position on the axis")
    if not 0.0 <= number <= 1.0:
        raise VariableError(f"{what}: a position on the axis is from 0 to 1, got {value!r}.")
    return number
