"""What a task agent has done so far: counts and times, in all and for each kind of work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_MOST_NAMES = 100
_OTHER = "other"


@dataclass(slots=True)
class Tally:
    """Units done and failed, and the seconds that the done ones took."""

    done: int = 0
    failed: int = 0
    total_s: float = 0.0
    fastest_s: float | None = None
    slowest_s: float | None = None

    def count_done(self, took_s: float) -> None:
        """Count one unit that was done."""
        self.done += 1
        self.total_s += took_s
        self.fastest_s = took_s if self.fastest_s is None else min(self.fastest_s, took_s)
        self.slowest_s = took_s if self.slowest_s is None else max(self.slowest_s, took_s)

    def summary(self) -> dict[str, Any]:
        """Return the counts, the success rate in percent (100 before the first unit), and the times in seconds."""
        tried = self.done + self.failed
        return {
            "done": self.done,
            "failed": self.failed,
            "success_rate": round(100 * self.done / tried, 2) if tried else 100.0,
            "average_s": self.total_s / self.done if self.done else None,
            "fastest_s": self.fastest_s,
            "slowest_s": self.slowest_s,
        }


@dataclass(slots=True)
class TaskFigures:
    """The tallies of one agent.

    `rejected` counts payloads that were invalid, `refused` units that an open breaker did not let begin: neither is
    a failure. At most 100 kinds and 100 error classes are told apart, the rest counts as "other".
    """

    all: Tally = field(default_factory=Tally)
    by_kind: dict[str, Tally] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    refused: int = 0

    def count_done(self, kind: str, took_s: float) -> None:
        """Count one unit that was done."""
        self.all.count_done(took_s)
        self._of(kind).count_done(took_s)

    def count_failed(self, kind: str, error: Exception) -> None:
        """Count one unit that failed for good."""
        self.all.failed += 1
        self._of(kind).failed += 1
        name = type(error).__name__
        self.errors[name if name in self.errors or len(self.errors) < _MOST_NAMES else _OTHER] += 1

    def summary(self) -> dict[str, Any]:
        """Return the figures of all kinds together."""
        return {**self.all.summary(), "errors": dict(self.errors)}

    def detailed(self) -> dict[str, Any]:
        """Return the summary, what was not begun, and the figures of each kind."""
        kinds = {kind: tally.summary() for kind, tally in self.by_kind.items()}
        return {**self.summary(), "rejected": self.rejected, "refused": self.refused, "by_kind": kinds}

    def _of(self, kind: str) -> Tally:
        known = kind in self.by_kind or len(self.by_kind) < _MOST_NAMES
        return self.by_kind.setdefault(kind if known else _OTHER, Tally())
