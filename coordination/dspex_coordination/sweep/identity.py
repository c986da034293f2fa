"""What a sweep is a sweep of: the parts that must not change between a run and its resumption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import ResumeError, SweepError
from dspex_coordination.optimizers.base import SearchContext
from dspex_coordination.sweep.record import SweepRecord

_SHOWN = 60


def parts(fingerprint: str) -> dict[str, Any]:
    """Return the named parts of a fingerprint, the text of a JSON object such as `{"program": ..., "data": ...}`.

    Raises SweepError for any other text.
    """
    try:
        named = json.loads(fingerprint)
    except ValueError:
        named = None
    if not isinstance(named, dict) or not named:
        raise SweepError(
            'A fingerprint is the text of a JSON object with named parts, such as \'{"program": "1f", "data": "9c"}\', '
            f"got {fingerprint!r}."
        )
    return named


def configuration(context: SearchContext, optimizer: str) -> dict[str, Any]:
    """Return what is stored beside the fingerprint, to say later what changed."""
    return {
        "optimizer": optimizer,
        "seed": context.seed,
        "max_trials": context.max_trials,
        "space": context.space.to_json(),
        "train_rows": context.train_rows,
        "validation_rows": context.validation_rows,
    }


def require_same(record: SweepRecord, fingerprint: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise ResumeError that lists each part in which the recorded sweep differs; `max_trials` may."""
    changes = _space_changes(record.config["space"], config["space"])
    explained = {"space"} if changes else set()
    for before, after in ((record.fingerprint, fingerprint), (_compared(record.config), _compared(config))):
        for part in sorted({*before, *after} - explained):
            if canonical_json(before.get(part)) != canonical_json(after.get(part)):
                changes.append(f"{part}: was {_short(before.get(part))}, is now {_short(after.get(part))}")
                explained.add(part)
    if changes:
        lines = "".join(f"\n  - {change}" for change in changes)
        raise ResumeError(
            f"Sweep {record.run_id!r} cannot be resumed, because this is no longer what it searched:{lines}\n"
            "Undo these changes to resume it, or start a new run under another run id."
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    return {part: config[part] for part in ("optimizer", "seed", "train_rows", "validation_rows")}


def _space_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = before["variables"], after["variables"]
    changes = [f"space: variable {name!r} was added" for name in new if name not in old]
    changes += [f"space: variable {name!r} was removed" for name in old if name not in new]
    for name in new:
        if name in old and canonical_json(old[name]) != canonical_json(new[name]):
            fields = sorted({*old[name], *new[name]})
            differing = [f for f in fields if canonical_json(old[name].get(f)) != canonical_json(new[name].get(f))]
            detail = ", ".join(f"{f} was {old[name].get(f)!r}, is now {new[name].get(f)!r}" for f in differing)
            changes.append(f"space: variable {name!r} changed: {detail}")
    return changes
