"""An experiment as one HTML file: it loads nothing, runs no script, and shows every value as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from dspex_ray.experiments.analysis import Analysis
from dspex_ray.experiments.chart import Look, difference_chart
from dspex_ray.experiments.metrics import METRICS
from dspex_ray.experiments.verdicts import sentences, units_told
from dspex_ray.learning_report.markup import table, text
from dspex_ray.learning_report.style import STYLE

Course = Sequence[tuple[float, Analysis]]
"""What was known at each of some times, in seconds since the epoch."""


def page(found: Analysis, course: Course, warned: Sequence[str]) -> str:
    """Return the page of an experiment."""
    title = f"Experiment {found.experiment.name} on {found.experiment.endpoint}"
    parts = [f"<h1>{escape(title)}</h1>", *(f'<p class="warning text">{text(one)}</p>' for one in warned)]
    parts += [f"<p>{text(_state(found))}</p>", _arms(found), *_findings(found, course)]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _state(found: Analysis) -> str:
    one = found.experiment
    ended = "" if one.ended_at is None else f", ended {_time(one.ended_at)}"
    chosen = "" if one.promoted is None else f"; {one.promoted} was promoted"
    return f"{one.status.capitalize()}; started {_time(one.started_at)}{ended}{chosen}."


def _arms(found: Analysis) -> str:
    what = units_told(found.experiment)
    rows = [(one.arm, f"{100 * one.weight:g} %", f"{one.units:,}", f"{one.requests:,}") for one in found.arms]
    heads = ("arm", "share", what, "counted")
    return table("Arms", heads, rows, heads[1:])


def _findings(found: Analysis, course: Course) -> Iterator[str]:
    for place, (one, told) in enumerate(zip(found.findings, sentences(found), strict=True)):
        metric = METRICS[one.metric]
        means = " and ".join(
            f"{arm} has {metric.told_value(mean)} over {values:,}"
            for arm, mean, values in zip((one.base, one.arm), one.means, one.values, strict=True)
        )
        seen = [(at, each.findings[place].difference) for at, each in course]
        looks = [Look(at, each.estimate, each.low, each.high) for at, each in seen]
        title = f"{one.arm} less {one.base} in {one.metric}"
        yield f"<h2>{text(title)}</h2><p>{text(told)}</p><p class='small'>{text(means)}.</p>"
        yield difference_chart(looks, metric, title)


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
