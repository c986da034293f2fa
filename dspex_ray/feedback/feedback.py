"""`Feedback`: what somebody thinks of one answer, and how it is read from a request's body."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dspex_ray.errors import InputError
from dspex_ray.traffic.reading import Reading

MOST_CORRECTION, MOST_NOTE, MOST_ID = 64_000, 2_000, 200
_FIELDS: Final = ("request_id", "reward", "correction", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """A `reward` between 0 and 1, a `correction` (the output's fields as they should be, all or some), or both.

    Raises InputError with everything that is wrong.
    """

    tenant: str
    endpoint: str
    request_id: str
    reward: float | None = None
    correction: Mapping[str, Any] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if found := _faults(self):
            raise InputError(f"Feedback: {'; '.join(f'{path}: {told}' for path, told in found)}.", tuple(found))


def read_feedback(body: Any, *, tenant: str, endpoint: str) -> Feedback:
    """Return the feedback of a parsed JSON body: `request_id` and a `reward` or a `correction`, perhaps a `note`.

    A reward of true is 1, of false 0. Raises InputError with everything that is wrong, by path.
    """
    reading = Reading()
    known = reading.fields(body, "", _FIELDS, required=("request_id",))
    reward, correction = known.get("reward"), known.get("correction")
    request_id = reading.text(known.get("request_id"), "request_id")
    note = reading.text(known.get("note", ""), "note")
    if reward is not None:
        reward = float(reward) if isinstance(reward, bool) else reading.number(reward, "reward")
    if correction is not None and not isinstance(correction, Mapping):
        reading.wrong.append("correction must be an object, the output's fields as they should be")
    if reading.wrong:
        raise InputError(f"Feedback: {'; '.join(reading.wrong)}.", tuple(map(_by_path, reading.wrong)))
    return Feedback(
        tenant=tenant, endpoint=endpoint, request_id=request_id, reward=reward, correction=correction, note=note
    )


def _by_path(told: str) -> tuple[str, str]:
    path, _, message = told.partition(" ")
    return (path, message) if path in _FIELDS else ("", told)


def _faults(given: Feedback) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if not given.request_id or len(given.request_id) > MOST_ID or not _is_storable(given.request_id):
        found.append(("request_id", "is the `x-request-id` of the answer, at most 200 characters"))
    if given.reward is None and given.correction is None:
        found.append(("", "a reward or a correction is needed"))
    if given.reward is not None and not (math.isfinite(given.reward) and 0 <= given.reward <= 1):
        found.append(("reward", f"is between 0 and 1, got {given.reward!r}"))
    if given.correction is not None:
        found += [("correction", told) for told in _correction_faults(given.correction)]
    if len(given.note) > MOST_NOTE or not _is_storable(given.note):
        found.append(("note", f"is text of at most {MOST_NOTE} characters"))
    return found


def _correction_faults(correction: Mapping[str, Any]) -> list[str]:
    if not correction:
        return ["names no field of the output"]
    try:
        text = json.dumps(correction, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return [f"is no JSON: {error}"]
    return [] if len(text) <= MOST_CORRECTION else [f"has {len(text)} characters, more than {MOST_CORRECTION}"]


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
