"""What a watch over a label knows, and what it does next: pure, without clock, store or data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dspex_ray.versions.drift import Drift, DriftPolicy, Next, next_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """An optimisation that was begun: its run, why, and what it needs to be resumed as it was begun.

    `rows` are the first rows of the data file it took, known again by `fingerprint`.
    """

    run_id: str
    why: str
    rows: int
    fingerprint: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What is known of the version that a label names; JSON by `to_json`.

    `tried` is the fingerprint of the data that an optimisation came to its end with: on the same rows another one
    would find nothing else. `offered` is a version that passed the gate and waits for someone to move the label.
    """

    version: int
    drift: Drift
    tried: str | None = None
    offered: int | None = None
    underway: Underway | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "drift": self.drift.to_json()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> WatchState:
        """Rebuild it from `to_json`."""
        underway = data["underway"]
        parts = {"drift": Drift.from_json(data["drift"]), "underway": underway and Underway(**underway)}
        return WatchState(**{**data, **parts})

    def begun(self, underway: Underway) -> WatchState:
        """Return what is known once an optimisation is begun."""
        return replace(self, drift=replace(self.drift, failed_at=None), underway=underway)

    def failed(self, now: float, *, resumable: bool) -> WatchState:
        """Return what is known after an optimisation that came to no version; later it is resumed or begun anew."""
        return replace(self, drift=self.drift.failed(now), underway=self.underway if resumable else None)

    def ended(self, fingerprint: str, now: float, *, offered: int | None) -> WatchState:
        """Return what is known after one whose version did not take the label: refused, or offered to someone."""
        return replace(self, drift=self.drift.failed(now), tried=fingerprint, offered=offered, underway=None)


def decide(state: WatchState, policy: DriftPolicy, now: float, *, is_new_data: bool) -> Next:
    """Return what is to be done now: what is under way goes first, and no version is optimised before its first check.

    Without new data since the last optimisation, or while a version is offered, quality is only checked.
    """
    if state.underway is not None:
        at = now if state.drift.failed_at is None else state.drift.failed_at + policy.retry_after_s
        return Next("optimize" if at <= now else "wait", state.underway.why, max(at, now))
    if state.drift.checked_at is None:
        return Next("check", f"version {state.version} was not checked yet", now)
    found = next_step(state.drift, policy, now)
    if found.action == "check" or (is_new_data and state.offered is None):
        return found
    # what reasons there are to optimise would come to nothing: ask for the next check alone
    quiet = replace(policy, threshold=-math.inf, overdue_after_s=math.inf)
    waits = next_step(replace(state.drift, earlier=()), quiet, now)
    return waits if waits.action == "check" or found.why == waits.why else replace(waits, why=_hold(state, found.why))


def _hold(state: WatchState, why: str) -> str:
    if state.offered is not None:
        return f"version {state.offered} waits to be promoted ({why})"
    return f"{why}, but the data holds no rows that the last optimisation did not have"
