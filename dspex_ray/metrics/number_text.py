"""Numbers as people and models write them: `1,234.5`, `$18`, `-3 %`, and GSM8K's last line `#### 18`.

A comma is read as a separator of thousands only where groups of three digits follow; a currency sign before and a
percent sign after a number are passed over (`50%` is 50). What is written otherwise, such as `1.234,5` or `1,23`, is no
number here: it could mean two things.
"""

from __future__ import annotations

import math
import re
from typing import Any

_SIGN = "[-+\u2212]?"
_CURRENCY = "[$\u20ac\xa3\xa5\u20b9]"
_DIGITS = r"(?:\d|\.\d)[\d.,]*+(?:[eE][-+]?\d+)?+"  # possessive: half of `1,234th` is no number
_RUN = re.compile(rf"(?<![\w.,])({_SIGN})(?:{_CURRENCY}\s?)?({_SIGN})({_DIGITS})(?!\w)")
_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][-+]?\d+)?")
_MARK = "####"
_LONGEST = 100_000


def number_of(value: Any, *, last: bool = False) -> float | None:
    """Return a finite number, or the one that a text states; None if there is none.

    What stands behind the last `####` counts alone (the form of answers in GSM8K, K. Cobbe et al., 2021). Else the
    text must hold one number, or, with `last`, its last one counts: a model's answer comes at the end.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _finite(value)
    if not isinstance(value, str):
        return None
    text = value[-_LONGEST:]
    found = _numbers(text.rpartition(_MARK)[2])
    if not found or (len(found) > 1 and not last):
        return None
    return found[-1]


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _numbers(text: str) -> list[float | None]:
    found: list[float | None] = []
    for sign, inner, digits in _RUN.findall(text):
        plain = digits.rstrip(".,")
        whole = _NUMBER.fullmatch(plain)
        number = _finite(float(plain.replace(",", ""))) if whole and plain else None
        found.append(-number if number is not None and (sign + inner).strip("+") else number)
    return found
