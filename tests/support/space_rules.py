"""Functions that constraints refer to by module and name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sum_is_even(values: Mapping[str, Any]) -> bool | str:
    """Accept values of a and b whose sum is even."""
    return (values["a"] + values["b"]) % 2 == 0 or f"{values['a']} + {values['b']} is odd"


def no_answer(values: Mapping[str, Any]) -> Any:
    """Answer neither yes nor no."""
    return values.get("missing")


def faulty(values: Mapping[str, Any]) -> bool:
    """Fail for a value above 2."""
    return bool(1 / max(0, 3 - values["a"]) > 0)


def slope(height: float, width: float) -> float:
    """Return the height for each unit of width."""
    return height / width
