"""The learning report's HTML: it loads nothing, runs no script, and shows every value as text."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from dspex_coordination.analysis import FinishedTrial
from dspex_coordination.sweep.work import RowResult
from dspex_ray.example import Example
from dspex_ray.learning_report.changes import Change, DemosChange, InstructionChange
from dspex_ray.learning_report.chart import chart
from dspex_ray.learning_report.learnt import Learnt

_LONGEST = 2000
_MOST_TRIALS = 200
_MOST_ROWS = 20
_MOST_SHOWN = 20  # demonstrations and advice of one change
_MARKS = {"same": "span", "removed": "del", "added": "ins"}

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem}
table{border-collapse:collapse}
th,td{border-bottom:1px solid #8884;padding:.35rem .5rem;text-align:left;vertical-align:top}
td,.text{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}.small{opacity:.75}.warning{border-left:4px solid #c80;padding-left:.6rem}
ins{background:#2a43;text-decoration:none}del{background:#d333}
svg text{font-size:11px;fill:currentColor}.band{fill:#4878b0;opacity:.2}.best{fill:none;stroke:#4878b0;stroke-width:2}
svg circle{fill:#4878b0}.base{stroke:#c80;stroke-dasharray:4 4}.grid{stroke:#8883}
"""


def page(found: Learnt) -> str:
    """Return the page of a run; its size is bounded whatever the number of trials and rows."""
    title = f"What {found.record.run_id} has learnt"
    parts = [f"<h1>{escape(title)}</h1>", _warnings(found), _figures(found), _charts(found), _changes(found.changed)]
    parts += [_costs(found), _trials(found), _rows(found)]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _warnings(found: Learnt) -> str:
    return "".join(f'<p class="warning text">{_text(one)}</p>' for one in found.warnings)


def _figures(found: Learnt) -> str:
    record = found.record
    gap = "unknown: the best was not scored on train rows"
    if found.gap is not None:
        gap = f"{100 * found.gap:+.1f} points: {_percent(found.train)} on train rows"
    told = {
        "program": record.fingerprint.get("program", ""),
        "model": record.fingerprint.get("model", ""),
        "optimizer": record.config.get("optimizer", ""),
        "status": f"{record.status}, {record.note}" if record.note else record.status,
        "untuned program": _scored(found.baseline),
        "best so far" if record.status in ("running", "paused") else "best": _scored(found.best),
        "held-out gap": gap,
        "trials": f"{record.trials} of at most {record.config.get('max_trials', '?')}",
        "model calls": f"{sum(calls for _, calls, _ in found.kinds.values()):,}",
        "cost": f"${record.cost_usd:.6f}",
        "time at work": f"{record.active_s:.1f} s",
    }
    lines = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in told.items())
    return f"<table>{lines}</table>"


def _charts(found: Learnt) -> str:
    if not found.by_calls:
        return ""
    base = None if found.baseline is None else found.baseline.measures.get("score")
    drawn = chart(found.by_calls, base, "model calls", "") + chart(found.by_cost, base, "US dollars", "$")
    note = "The best so far on validation rows with its 95 % interval; dashed: the untuned program."
    return f'<h2>Score against calls and money</h2><p class="small">{note}</p><div class="scroll">{drawn}</div>'


def _changes(changed: Sequence[Change]) -> str:
    if not changed:
        return "<h2>What changed</h2><p>Nothing: the untuned program is the best.</p>"
    return "<h2>What changed</h2>" + "".join(map(_change, changed))


def _change(one: Change) -> str:
    head = f"<h3>{_text(one.name)}</h3>"
    if isinstance(one, InstructionChange):
        pieces = "".join(f"<{_MARKS[p.kind]}>{_text(p.text)}</{_MARKS[p.kind]}>" for p in one.pieces)
        advice = _table(("trial", "advice"), ((str(trial), _shown(told)) for trial, told in one.advice[:_MOST_SHOWN]))
        why = f"<p>It came of these errands:</p>{advice}" if one.advice else ""
        return f'{head}<p class="text">{pieces}</p>{why}'
    if isinstance(one, DemosChange):
        more = len(one.added) - _MOST_SHOWN
        rows = [(_shown(demo),) for demo in one.added[:_MOST_SHOWN]] + ([(f"... {more} more",)] if more > 0 else [])
        added = _table(("added",), rows) if rows else ""
        return f"{head}<p>{_text(one.before)} &rarr; {_text(one.after)}</p>{added}"
    return f'{head}<p class="text">{_text(_shown(one.before))} &rarr; {_text(_shown(one.after))}</p>'


def _costs(found: Learnt) -> str:
    kinds = ((name, f"{n:,}", f"{calls:,}", f"${cost:.6f}") for name, (n, calls, cost) in found.kinds.items())
    models = (
        (str(line.group["model"]), f"{line.totals.calls:,}", f"{line.totals.failed:,}", f"${line.totals.cost_usd:.6f}")
        for line in found.models[:_MOST_SHOWN]
    )
    by_kind = _table(("kind", "trials", "calls", "cost"), kinds)
    by_model = _table(("model", "calls", "failed", "cost"), models) if found.models else ""
    return f"<h2>Costs</h2>{by_kind}{by_model}"


def _trials(found: Learnt) -> str:
    tried = [one for one in found.run.trials if one.split != "errand"]
    kept = heapq.nsmallest(_MOST_TRIALS, tried, key=lambda one: (-one.measures.get("score", -1.0), one.number))
    note = f"The best {len(kept)} of {len(tried)}." if len(kept) < len(tried) else f"All {len(tried)}, the best first."
    rows = (
        (str(t.number), t.split, str(len(t.rows)), _scored(t), *_spent(t), _shown(dict(t.candidate.values)))
        for t in kept
    )
    heads = ("trial", "split", "rows", "score", "cost", "prompt tokens a row", "values")
    return f'<h2>Trials</h2><p class="small">{note}</p>{_table(heads, rows)}'


def _spent(trial: FinishedTrial) -> tuple[str, str]:
    length = trial.measures.get("prompt_tokens")
    return f"${trial.cost_usd:.6f}", "-" if length is None else f"{length:,.0f}"


def _rows(found: Learnt) -> str:
    if not found.rows:
        return ""
    worst = heapq.nsmallest(_MOST_ROWS, found.rows, key=lambda one: (one.score or 0.0, one.error is None, one.row))
    taken = {one.row for one in worst}
    others = [one for one in found.rows if one.row not in taken]
    best = heapq.nsmallest(_MOST_ROWS, others, key=lambda one: (-(one.score or 0.0), one.row))
    told = f'<p class="small">Of {len(found.rows):,} validation rows of the best candidate.</p>'
    shown = f"<h2>Worst rows</h2>{told}{_row_table(worst, found.examples)}"
    return shown + (f"<h2>Best rows</h2>{_row_table(best, found.examples)}" if best else "")


def _row_table(rows: Sequence[RowResult], examples: Sequence[Example]) -> str:
    asked = {one.row: examples[one.row] if one.row < len(examples) else None for one in rows}
    heads = ("row", "score", *(("input", "expected") if examples else ()), "output", "feedback", "error", "cost")
    return _table(heads, (_row(one, asked[one.row], known=bool(examples)) for one in rows))


def _row(one: RowResult, asked: Example | None, *, known: bool) -> tuple[str, ...]:
    given = ("", "") if asked is None else (_shown(asked.input), _shown(asked.output))
    score = "-" if one.score is None else f"{one.score:.3f}"
    told = (_shown(one.output), one.feedback or "", one.error or "", f"${one.cost_usd:.6f}")
    return (str(one.row + 1), score, *(given if known else ()), *told)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _scored(trial: FinishedTrial | None) -> str:
    if trial is None:
        return "not scored yet"
    if trial.failed:
        return f"failed: {trial.failed}"
    told = trial.measures
    ends = f" ({_percent(told['score_low'])} to {_percent(told['score_high'])})" if "score_low" in told else ""
    return f"{_percent(told.get('score'))}{ends}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    """Return a value as text that is no markup, cut to a length."""
    text = str(value)
    more = len(text) - _LONGEST
    return escape(text if more <= 0 else f"{text[:_LONGEST]} ... ({more} characters more)")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
