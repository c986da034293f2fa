"""All that is known of one run as JSON values: what `show` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum
from typing import Any

from dspex_coordination.analysis import FinishedTrial, paired_scores
from dspex_coordination.objectives import ranked
from dspex_coordination.sweep import SweepStore
from dspex_coordination.sweep.record import Attempt, Event, RecordedRow, TrialRecord
from dspex_ray.cli.sweeps.reading import Look, rows_of, scores_of, shown_status
from dspex_ray.errors import UnknownNameError
from dspex_ray.intervals import paired_difference


def run_json(store: SweepStore, seen: Look, top: int, now: float) -> dict[str, Any]:
    """Return settings, space, best, the `top` trials, isolated rows, failures, attempts and costs."""
    record, run = seen.record, seen.run
    config = {key: value for key, value in record.config.items() if key != "space"}
    best, attempts, events = run.best, store.attempts(record.run_id), store.events(record.run_id)
    return {
        "run_id": record.run_id,
        "status": shown_status(record, now),
        "note": record.note,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "active_s": record.active_s,
        "cost_usd": record.cost_usd,
        "settings": config | {"objectives": [o.to_json() for o in run.objectives]},
        "fingerprint": dict(record.fingerprint),
        "space": run.space_json,
        "trials_done": record.trials,
        "trials_open": sum(trial.told_at is None for trial in seen.trials),
        "rows": record.rows,
        "best": None
        if best is None
        else trial_json(best) | {"against_baseline": difference(store, seen, 0, best.number)},
        "front": [trial.number for trial in run.front] if len(run.objectives) > 1 else [],
        "top": [trial_json(trial) for trial in ranked(run.rankable, run)[:top]],
        "isolated": [event.data for event in events if event.kind == "isolate"],
        "failures": _failures(store, seen, attempts),
        "attempts": _attempts(attempts),
        "requests": _requests(store, seen, events),
    }


def trial_json(trial: FinishedTrial) -> dict[str, Any]:
    """Return a finished trial with the number of its rows."""
    return {
        "trial": trial.number,
        "candidate": trial.candidate.to_json(),
        "split": trial.split,
        "rows": len(trial.rows),
        "measures": dict(trial.measures),
        "cost_usd": trial.cost_usd,
        "failed": trial.failed,
    }


def difference(store: SweepStore, seen: Look, base: int, other: int) -> dict[str, Any] | None:
    """Return by how much trial `other` scores above `base` on the rows of both; None for itself, or without rows."""
    if base == other:
        return None
    one, two = paired_scores(scores_of(store, seen, base), scores_of(store, seen, other))
    return difference_json(one, two)


def difference_json(one: Sequence[float], two: Sequence[float]) -> dict[str, Any] | None:
    """Return the mean difference of paired scores, second minus first, with its 95 % interval; None without any."""
    if not one:
        return None
    mean, low, high = paired_difference(one, two)
    return {"mean": mean, "low": low, "high": high, "rows": len(one)}


def one_trial(seen: Look, number: int) -> TrialRecord:
    """Return a trial of a run. Raises UnknownNameError with those there are."""
    for trial in seen.trials:
        if trial.number == number:
            return trial
    raise UnknownNameError(f"trial of {seen.record.run_id}", str(number), [str(t.number) for t in seen.trials])


def rows_json(store: SweepStore, seen: Look, number: int, *, outputs: bool) -> list[dict[str, Any]]:
    """Return the rows of a trial, with what the program answered where `outputs` are wanted."""
    return [_row_json(row, outputs=outputs) for row in rows_of(store, seen, number)]


def _row_json(row: RecordedRow, *, outputs: bool) -> dict[str, Any]:
    result = row.result
    told = {
        "row": result.row,
        "score": result.score,
        "measures": dict(result.measures),
        "cost_usd": result.cost_usd,
        "latency_s": result.latency_s,
        "prompt_tokens": result.prompt_tokens,
        "error": result.error,
        "worker": row.worker,
    }
    return told | ({"output": result.output} if outputs else {})


def _requests(store: SweepStore, seen: Look, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return what was asked of the run from outside, whether its driver has heard it, and why it was refused if so."""
    refused = {event.data["request"]: event.data["reason"] for event in events if event.kind == "refused"}
    return [
        {
            "kind": one.kind,
            "data": dict(one.data),
            "at": one.at,
            "heard_at": one.taken_at,
            "refused": refused.get(one.id),
        }
        for one in store.requests(seen.record.run_id)
    ]


def _failures(store: SweepStore, seen: Look, attempts: Sequence[Attempt]) -> dict[str, dict[str, int]]:
    """Count by what was hit (trials, rows, units of work) and by the class of the error."""
    trials = Counter(_class(trial.failed) for trial in seen.trials if trial.failed is not None)
    units = Counter(_class(one.reason or one.outcome) for one in attempts if one.outcome == "lost")
    rows: Counter[str] = Counter()
    if any(trial.measures.get("reliability", 1.0) < 1.0 for trial in seen.trials):  # else no row need be read
        rows.update(_class(row.result.error) for row in store.stream_rows(seen.record.run_id) if row.result.error)
    return {"trials": dict(trials), "rows": dict(rows), "infrastructure": dict(units)}


def _class(text: str | None) -> str:
    return (text or "").partition(":")[0].strip() or "unknown"


def _attempts(attempts: Sequence[Attempt]) -> dict[str, Any]:
    dropped = [one.cost_usd for one in attempts if one.outcome == "dropped"]
    return {
        "outcomes": dict(Counter(one.outcome for one in attempts)),
        "calls": sum(one.calls for one in attempts),
        "wasted_usd": fsum(dropped),
    }
