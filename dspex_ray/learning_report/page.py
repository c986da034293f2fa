"""The learning report's HTML: it loads nothing, runs no script, and shows every value as text."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from dspex_coordination.analysis import FinishedTrial
from dspex_coordination.objectives import SCORE
from dspex_ray.learning_report.changes_view import changes_section, differing
from dspex_ray.learning_report.chart import Spot, chart, tradeoff_chart
from dspex_ray.learning_report.learnt import Learnt
from dspex_ray.learning_report.markup import UNKNOWN_PRICE, lines, money, percent, table, text
from dspex_ray.learning_report.rows_view import rows_section
from dspex_ray.learning_report.style import STYLE
from dspex_ray.learning_report.trials_view import scored, trials_section

_MOST_MODELS = 20
_MOST_FRONT = 50
_PRICES = ("cost_usd", "cost_per_1k")
_WANTED = {"maximize": "large", "minimize": "small"}
_STATUS = {"budget": "ended by a limit", "running": "still running"}
_STALE = "interrupted: nobody works at it, and it can be resumed"


def page(found: Learnt) -> str:
    """Return the page of a run; its size is bounded whatever the number of trials and rows."""
    title = f"What {found.record.run_id} has learnt"
    sections: tuple[Callable[[Learnt], str], ...] = (
        _warnings,
        _figures,
        _charts,
        _front,
        changes_section,
        rows_section,
        _costs,
        trials_section,
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(section(found) for section in sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _warnings(found: Learnt) -> str:
    return "".join(f'<p class="warning text" role="note">{text(one)}</p>' for one in found.warnings)


def _figures(found: Learnt) -> str:
    record = found.record
    gap = "unknown: the best was not scored on train rows"
    if found.gap is not None:
        gap = f"{100 * found.gap:+.1f} points: {percent(found.train)} on train rows"
    status = _STALE if found.is_stale else _STATUS.get(record.status, record.status)
    under_way = record.status in ("running", "paused")
    calls, cost = _spent(found)
    told = {
        "program": record.fingerprint.get("program", ""),
        "model": record.fingerprint.get("model", ""),
        **({"teacher": record.fingerprint["teacher"]} if "teacher" in record.fingerprint else {}),
        "optimizer": record.config.get("optimizer", ""),
        "status": f"{status}, {record.note}" if record.note else status,
        "untuned program": scored(found.baseline),
        "best so far" if under_way else "best": scored(found.best),
        "held-out gap": gap,
        "trials": f"{record.trials} of at most {record.config.get('max_trials', '?')}",
        "model calls": f"{calls:,}",
        "cost": cost,
        "time at work": f"{record.active_s:.1f} s",
    }
    body = "".join(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in told.items())
    return f'<table aria-label="The run at a glance">{body}</table>'


def _charts(found: Learnt) -> str:
    if not found.by_calls:
        return ""
    base = None if found.baseline is None else found.baseline.measures.get("score")
    paid = any(point.x for point in found.by_cost)
    drawn = chart(found.by_calls, base, "model calls", "")
    drawn += chart(found.by_cost, base, "US dollars", "$") if paid else ""
    note = "The best so far on validation rows with its 95 % interval; dashed: the untuned program."
    return f'<h2>Score against calls{" and money" if paid else ""}</h2><p class="small">{note}</p>{drawn}'


def _front(found: Learnt) -> str:
    objectives, front = found.run.objectives, found.run.front
    if len(objectives) == 1 or not front:
        return ""
    names = [one.name for one in objectives]
    order = sorted(front, key=lambda one: (-one.measures.get(names[0], 0.0), one.number))[:_MOST_FRONT]
    best, untuned, free = _number(found.best), found.baseline, _spent(found)[1] == UNKNOWN_PRICE
    rows = (
        (
            f"{one.number}{', the best' if one.number == best else ''}",
            *(UNKNOWN_PRICE if free and name in _PRICES else _measure(name, one.measures[name]) for name in names),
            differing(one.candidate.values, untuned.candidate.values if untuned is not None else {}),
        )
        for one in order
    )
    note = (
        f"{len(front)} candidates of which each is better than any other in something. "
        f"Wanted: {', '.join(f'{_WANTED[one.direction]} {one.name}' for one in objectives)}. A ring marks the best."
    )
    told = table("The front", ("trial", *names, "values"), rows, names)
    return f'<h2>Front</h2><p class="small">{text(note)}</p>{_tradeoffs(found, front)}{told}'


def _tradeoffs(found: Learnt, front: list[FinishedTrial]) -> str:
    names = [one.name for one in found.run.objectives]
    if SCORE.name not in names:
        return ""
    on_front, best = {one.number for one in front}, _number(found.best)
    drawn = []
    for name in (one for one in names if one != SCORE.name):
        spots = [
            Spot(one.measures[name], one.measures[SCORE.name], one.number in on_front, one.number == best)
            for one in found.run.rankable
        ]
        if any(spot.x for spot in spots):
            drawn.append(tradeoff_chart(spots, name, "$" if name.endswith("_usd") else ""))
    return "".join(drawn)


def _measure(name: str, value: float) -> str:
    if name in (SCORE.name, "reliability"):
        return percent(value)
    return money(value) if name.endswith("_usd") else f"{value:,.4g}{' s' if name.endswith('_s') else ''}"


def _spent(found: Learnt) -> tuple[int, str]:
    """Return all model calls of the run and what they cost: by the ledger, where it has them."""
    kept = sum(calls for _, calls, _ in found.kinds.values())
    totals = [one.totals for one in found.models]
    calls = sum(one.calls for one in totals)
    if calls < kept:
        return kept, money(found.record.cost_usd)
    return calls, money(sum(one.cost_usd for one in totals), sum(one.unpriced for one in totals), calls)


def _costs(found: Learnt) -> str:
    all_calls, cost = _spent(found)
    kept = sum(calls for _, calls, _ in found.kinds.values())
    unknown = cost == UNKNOWN_PRICE
    kinds = [
        (
            name,
            f"{n:,}",
            f"{calls:,}",
            _share(calls, all_calls),
            UNKNOWN_PRICE if unknown else money(usd),
        )
        for name, (n, calls, usd) in found.kinds.items()
    ]
    if all_calls > kept:
        every = sum(one.totals.cost_usd for one in found.models)
        usd = max(0.0, every - sum(kind[2] for kind in found.kinds.values()))
        told = UNKNOWN_PRICE if unknown else money(usd)
        aside = all_calls - kept
        kinds.append(("second copies, checks, and what was cut off", "", f"{aside:,}", _share(aside, all_calls), told))
    kinds.append(("all", f"{sum(n for n, _, _ in found.kinds.values()):,}", f"{all_calls:,}", "100 %", cost))
    numbers = ("trials", "calls", "share", "cost", "failed")
    by_kind = table("Costs by what they were for", ("for", "trials", "calls", "share", "cost"), kinds, numbers)
    models = (
        (
            lines(line.group["model"]),
            f"{line.totals.calls:,}",
            f"{line.totals.failed:,}",
            money(line.totals.cost_usd, line.totals.unpriced, line.totals.calls),
        )
        for line in found.models[:_MOST_MODELS]
    )
    by_model = table("Costs by model", ("model", "calls", "failed", "cost"), models, numbers) if found.models else ""
    return f"<h2>Costs</h2>{by_kind}{by_model}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / (whole or 1):.0f} %"


def _number(trial: FinishedTrial | None) -> int | None:
    return None if trial is None else trial.number
