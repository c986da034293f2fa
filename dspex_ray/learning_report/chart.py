"""A line chart of the best score so far with its 95 % interval, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 260, 50, 12, 36
_MOST_POINTS = 500
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Point:
    """The best so far when `x` had been spent: its score with the ends of its interval."""

    x: float
    score: float
    low: float
    high: float


def chart(points: Sequence[Point], baseline: float | None, label: str, unit: str) -> str:
    """Return the chart of points in their order, thinned to at most 500; `unit` stands before each tick of x."""
    kept = _thinned(points)
    most = max(point.x for point in kept) or 1.0
    ends = [one for point in kept for one in (point.low, point.high, point.score)] + [baseline or 0.0]
    low, high = min(0.0, *ends), max(1.0, *ends)
    wide, tall = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> str:
        return f"{_LEFT + wide * x / most:.1f},{_TOP + tall * (high - y) / (high - low):.1f}"

    band = [at(p.x, p.high) for p in kept] + [at(p.x, p.low) for p in reversed(kept)]
    line = " ".join(at(p.x, p.score) for p in kept)
    last = kept[-1]
    parts = [f'<polygon class="band" points="{" ".join(band)}"/>', f'<polyline class="best" points="{line}"/>']
    if baseline is not None:
        start, end = at(0, baseline).split(","), at(most, baseline).split(",")
        parts.append(f'<line class="base" x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"/>')
    x, y = at(last.x, last.score).split(",")
    parts.append(f'<circle cx="{x}" cy="{y}" r="3"/>')
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        x, y = at(most * share, low).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 16:.1f}" text-anchor="middle">{unit}{most * share:.4g}</text>')
        value = low + (high - low) * share
        x, y = at(0, value).split(",")
        parts.append(
            f'<text x="{float(x) - 6:.1f}" y="{float(y) + 4:.1f}" text-anchor="end">{100 * value:.0f} %</text>'
        )
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{_WIDTH - 10}" y2="{y}"/>')
    parts.append(f'<text x="{_LEFT + wide / 2:g}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(label)}</text>')
    named = escape(f"The best score so far against {label}")
    return f'<svg role="img" aria-label="{named}" width="{_WIDTH}" height="{_HEIGHT}">{"".join(parts)}</svg>'


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(_MOST_POINTS)]
