"""Where a figure becomes an alert: every bound with its unit, checked when set."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspex_agents.errors import SpecError

_PERCENT = ("cpu_usage", "memory_usage", "disk_usage", "error_rate", "mailbox_fill")
_COUNTS = ("process_memory", "agent_failures", "queue_growth", "min_handled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """A figure **above** its threshold is an alert. Raises SpecError that names every bad field.

    In percent, above 0 and at most 100: CPU, memory and disk of the node; messages of an agent that failed; fill of
    its mailbox. `response_time` is the mean time that an agent spends on a message, in milliseconds. `process_memory`
    is in bytes of one process. `agent_failures` counts restarts of an agent, `queue_growth` the messages by which its
    mailbox grew. Error rate, response time and growth are those of the recent window (see `Roster`).
    """

    cpu_usage: float = 80.0
    memory_usage: float = 85.0
    disk_usage: float = 90.0
    error_rate: float = 5.0
    response_time: float = 1000.0
    mailbox_fill: float = 80.0
    process_memory: int = 2 * 1024**3
    agent_failures: int = 3
    queue_growth: int = 500
    min_handled: int = 20
    """An error rate or a mean time over fewer messages than this says nothing."""

    def __post_init__(self) -> None:
        _refuse(_problems({field.name: getattr(self, field.name) for field in dataclasses.fields(self)}))

    def changed(self, changes: Mapping[str, Any]) -> Thresholds:
        """Return these with some fields changed. Raises SpecError that names every bad or unknown field."""
        names = [field.name for field in dataclasses.fields(self)]
        unknown = []
        for name in changes:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, n=1)
                unknown.append(f"{name!r} is none of them" + (f", did you mean {near[0]!r}?" if near else ""))
        _refuse(unknown + _problems({name: value for name, value in changes.items() if name in names}))
        return dataclasses.replace(self, **changes)


def _problems(values: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in values.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in _PERCENT:
            is_right, right = is_number and 0 < value <= 100, "a percentage above 0 and at most 100"  # noqa: PLR2004
        elif name in _COUNTS:
            is_right, right = is_number and isinstance(value, int) and value >= 1, "a whole number, at least 1"
        else:
            is_right, right = is_number and 0 < value < math.inf, "a number of milliseconds above 0"
        if not is_right:
            found.append(f"{name} must be {right}, got {value!r}")
    return found


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SpecError(f"thresholds: {'; '.join(problems)}.")
