"""The trials of a run as a table, the best first."""

from __future__ import annotations

import heapq

from dspex_coordination.analysis import FinishedTrial
from dspex_ray.learning_report.changes_view import differing
from dspex_ray.learning_report.learnt import Learnt
from dspex_ray.learning_report.markup import money, percent, table, text

_MOST_TRIALS = 200
_HEADS = ("trial", "scored on", "rows", "score", "95 % interval", "cost", "prompt tokens a row", "values")
_NUMBERS = ("trial", "rows", "score", "95 % interval", "cost", "prompt tokens a row")


def trials_section(found: Learnt) -> str:
    """Return at most 200 trials: those on most validation rows first, since these decide, and of them the best."""
    tried = [one for one in found.run.trials if one.split != "errand"]
    kept = heapq.nsmallest(_MOST_TRIALS, tried, key=_order)
    note = f"{len(kept)} of {len(tried)}" if len(kept) < len(tried) else f"All {len(tried)}"
    note += ": those on most validation rows first, and of them the best."
    untuned = {} if found.baseline is None else found.baseline.candidate.values
    unpriced = bool(found.models) and all(one.totals.unpriced == one.totals.calls for one in found.models)
    rows = (
        (
            f"{one.number}{', the best' if found.best is not None and one.number == found.best.number else ''}",
            _split(one, found.last_look),
            str(len(one.rows)),
            percent(one.measures.get("score")),
            _ends(one),
            "-" if unpriced else money(one.cost_usd),
            _length(one),
            f"failed: {one.failed}" if one.failed else differing(one.candidate.values, untuned),
        )
        for one in kept
    )
    return f'<h2>Trials</h2><p class="small">{text(note)}</p>{table("Trials", _HEADS, rows, _NUMBERS)}'


def scored(trial: FinishedTrial | None) -> str:
    """Return a trial's score with its interval, in words where it has none."""
    if trial is None:
        return "not scored yet"
    if trial.failed:
        return f"failed: {trial.failed}"
    ends = f" ({_ends(trial)})" if "score_low" in trial.measures else ""
    return f"{percent(trial.measures.get('score'))}{ends} on {len(trial.rows)} row{'' if len(trial.rows) == 1 else 's'}"


def _order(trial: FinishedTrial) -> tuple[bool, int, float, int]:
    return trial.split != "validation", -len(trial.rows), -trial.measures.get("score", -1.0), trial.number


def _split(trial: FinishedTrial, last_look: int | None) -> str:
    said = "teacher, " if trial.teacher else "last look, " if trial.number == last_look else ""
    return f"{said}{trial.split}"


def _ends(trial: FinishedTrial) -> str:
    told = trial.measures
    return f"{percent(told['score_low'])} to {percent(told['score_high'])}" if "score_low" in told else "-"


def _length(trial: FinishedTrial) -> str:
    length = trial.measures.get("prompt_tokens")
    return "-" if length is None else f"{length:,.0f}"
