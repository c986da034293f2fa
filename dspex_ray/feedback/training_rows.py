"""Kept requests as training data: inputs with outputs that were corrected or well rewarded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dspex_coordination.canonical import canonical_json


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """`rows` have the fields of input and output side by side, as data files have them.

    Of the requests with good feedback, `without_content` could not be used since their inputs or outputs were not kept.
    """

    rows: tuple[dict[str, Any], ...]
    requests: int
    corrected: int
    without_content: int


def training_rows(requests: Iterable[Mapping[str, Any]], *, least: float = 1.0) -> TrainingRows:
    """Return what can be learnt of requests, oldest first: one row an input.

    A corrected output counts as the correction says, field by field; another one as it was, if its reward is `least` or
    more. Of one input the last correction counts, else the last good output.
    """
    found: dict[str, tuple[bool, dict[str, Any]]] = {}
    seen = missing = 0
    for request in requests:
        seen += 1
        correction, reward = request["correction"], request["reward"]
        if request["shadow"] or (correction is None and (reward is None or reward < least)):
            continue
        given, answered = request["input"], request["output"]
        if given is None or (answered is None and correction is None):
            missing += 1
            continue
        key, is_corrected = canonical_json(given), correction is not None
        if is_corrected or not (key in found and found[key][0]):
            found.pop(key, None)
            found[key] = (is_corrected, {**given, **(answered or {}), **(correction or {})})
    rows = tuple(row for _, row in found.values())
    return TrainingRows(rows, seen, sum(corrected for corrected, _ in found.values()), missing)
