"""What a sweep shows of itself: its status and progress at any time, its result at the end."""

from __future__ import annotations

from math import fsum
from typing import Any

from dspex_coordination.sweep.hand_outs import HandOuts
from dspex_coordination.sweep.result import IsolatedRow, SweepResult, SweepStatus
from dspex_coordination.sweep.stop_rules import Stop
from dspex_coordination.sweep.trial import Trial
from dspex_coordination.sweep.turns import Turns


def status_of(turns: Turns, hands: HandOuts, hold: SweepStatus | None, stop: Stop | None) -> SweepStatus:
    """Return the status that follows from the trials, from what holds the sweep, and from the rule that is reached."""
    if hold == "failed":
        return "failed"
    if hands.needed and hold != "paused":
        return "running"
    if turns.is_over or (stop is not None and not turns.open):
        if turns.board.leaders.best is None:
            return "failed"
        return "finished" if turns.optimizer.done or stop is None else stop.end
    return hold or "running"


def reason_of(turns: Turns, status: SweepStatus, stop: Stop | None) -> str | None:
    """Return why no trial is asked any more; None if there is no other reason than that the optimizer is done."""
    if status == "failed":
        reasons = [f"; trial {t.number}: {t.failed}" for t in turns.trials.values() if t.failed is not None]
        return f"no trial has a score{reasons[0] if reasons else ''}"
    return None if stop is None or turns.optimizer.done else stop.reason


def result_of(run_id: str, turns: Turns, hands: HandOuts, status: SweepStatus, reason: str | None) -> SweepResult:
    """Return the finished trials, the best of them, the front, and the bill."""
    trials, best = turns.trials, turns.best
    closing = [trial for trial in trials.values() if trial.seat is None and trial.told is not None]
    return SweepResult(
        run_id=run_id,
        best=None if best is None else best.summary(),
        trials=tuple(trial.summary() for _, trial in sorted(trials.items()) if _is_finished(trial)),
        cost_usd=fsum(trial.cost_usd for trial in trials.values()),
        status=status,
        front=tuple(trials[told.number].summary() for told in turns.board.leaders.front),
        wasted_usd=hands.wasted_usd,
        isolated=isolated(turns),
        stopped_by=reason,
        closing=closing[-1].summary() if closing else None,
    )


def progress_of(run_id: str, turns: Turns, hands: HandOuts, status: SweepStatus, reason: str | None) -> dict[str, Any]:
    """Return counts, scores and cost so far, as JSON; cheap."""
    best, baseline = turns.board.leaders.best, turns.trials.get(0)
    asked = sum(not trial.is_aside for trial in turns.trials.values())
    done = asked - sum(not trial.is_aside for trial in turns.open.values())
    total = asked if turns.optimizer.done else turns.context.max_trials
    return {
        "run_id": run_id,
        "trials_done": done,
        "trials_total": total,
        "rows_done": hands.rows,
        "best_score": None if best is None else best.mean,
        "baseline_score": None if baseline is None or baseline.told is None else baseline.told.mean,
        "cost_usd": hands.kept_usd,
        "wasted_usd": hands.wasted_usd,
        "isolated": [{"split": row.split, "row": row.row, "reason": row.reason} for row in isolated(turns)],
        "stopped_by": reason,
        "percent": 100.0 * done / total if total else 100.0,
        "status": status,
    }


def _is_finished(trial: Trial) -> bool:
    return trial.told is not None and not trial.is_aside


def isolated(turns: Turns) -> tuple[IsolatedRow, ...]:
    """Return the rows that are left out."""
    left = sorted(turns.left_out.items())
    return tuple(IsolatedRow("train" if split == "train" else "validation", row, why) for (split, row), why in left)
