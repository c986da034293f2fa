"""What a sweep is a sweep of: the parts that must not change between a run and its resumption."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_coordination.canonical import canonical_json, digest
from dspex_coordination.errors import ResumeError, SweepError
from dspex_coordination.optimizers.base import SearchContext, Told
from dspex_coordination.sweep.record import SweepRecord
from dspex_coordination.sweep.settings import SweepSettings

_SHOWN = 60
_FIXED = (
    "optimizer",
    "seed",
    "train_rows",
    "validation_rows",
    "objectives",
    "bounds",
    "early",
    "earlier",
    "reproducible",
    "max_pending_trials",
)
_EMPTY: tuple[Any, ...] = (None, False, [], {}, "")


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


def configuration(
    context: SearchContext, optimizer: str, settings: SweepSettings | None = None, *, pending: int | None = None
) -> dict[str, Any]:
    """Return what is stored beside the fingerprint, to say later what changed.

    `pending` is how many trials may be open at once. Without settings the parts that follow from them are left out.
    """
    config = {
        "optimizer": optimizer,
        "seed": context.seed,
        "max_trials": context.max_trials,
        "space": context.space.to_json(),
        "train_rows": context.train_rows,
        "validation_rows": context.validation_rows,
        "objectives": [objective.to_json() for objective in context.objectives],
        "bounds": [bound.to_json() for bound in context.bounds],
        "early": [candidate.key for candidate in context.early],
        "earlier": _digest_of(context.earlier),
    }
    if settings is not None:
        config |= {
            "reproducible": settings.reproducible,
            "max_pending_trials": pending,
            "budget_usd": settings.budget_usd,
            "stop": None if settings.stop is None else settings.stop.to_json(),
        }
    return config


def pending(record: SweepRecord | None, settings: SweepSettings, context: SearchContext) -> int:
    """Return how many trials may be open at once: as in the record, unless the settings say a number."""
    recorded = None if record is None else record.config.get("max_pending_trials")
    if recorded is not None and settings.max_pending_trials is None:
        return int(recorded)
    return settings.pending(context.validation_rows)


def require_same(record: SweepRecord, fingerprint: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise ResumeError that lists each part in which the recorded sweep differs.

    Limits (`max_trials`, `budget_usd`, `stop`) may differ, and so may what the record of an older version lacks.
    """
    changes = _space_changes(record.config["space"], config["space"])
    explained = {"space"} if changes else set()
    for before, after in ((record.fingerprint, fingerprint), _compared(record.config, config)):
        for part in sorted({*before, *after} - explained):
            if canonical_json(before.get(part)) != canonical_json(after.get(part)):
                changes.append(f"{part}: was {_short(before.get(part))}, is now {_short(after.get(part))}")
                explained.add(part)
    if changes:
        lines = "".join(f"\n  - {change}" for change in changes)
        raise ResumeError(
            f"Sweep {record.run_id!r} cannot be resumed, because this is no longer what it searched:{lines}\n"
            f"Undo these changes to resume it, or begin a new run with what it has found: --fork {record.run_id}."
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    parts = [part for part in _FIXED if part in before and part in after]
    if before.get("reproducible") is False and "max_pending_trials" in parts:
        parts.remove("max_pending_trials")  # there it is a mere setting
    return {part: before[part] for part in parts}, {part: after[part] for part in parts}


def _digest_of(earlier: Sequence[Told]) -> str | None:
    """Return a hash of the results of earlier runs; None without any."""
    return digest([[told.candidate.key, told.split, dict(told.measures)] for told in earlier]) if earlier else None


def _space_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = before["variables"], after["variables"]
    changes = [f"space: variable {name!r} was added" for name in new if name not in old]
    changes += [f"space: variable {name!r} was removed" for name in old if name not in new]
    for name in new:
        if name in old and (detail := _differing(old[name], new[name])):
            changes.append(f"space: variable {name!r} changed: {detail}")
    if canonical_json(before.get("constraints", [])) != canonical_json(after.get("constraints", [])):
        said = (_short(space.get("constraints", [])) for space in (before, after))
        changes.append("space: constraints were {}, are now {}".format(*said))
    return changes


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in which fields a variable differs; one that a version does not know and another leaves out is no change."""
    fields = [
        field
        for field in sorted({*old, *new})
        if canonical_json(old.get(field)) != canonical_json(new.get(field))
        and not ((field not in old or field not in new) and (old.get(field) or new.get(field)) in _EMPTY)
    ]
    return ", ".join(f"{field} was {old.get(field)!r}, is now {new.get(field)!r}" for field in fields)
