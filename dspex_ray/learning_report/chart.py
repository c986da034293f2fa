"""Charts as SVG: the best score so far with its 95 % interval, and how a score trades off against another measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 260, 66, 34, 14, 44
_MOST_POINTS = 500
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Point:
    """The best so far when `x` had been spent: its score with the ends of its interval."""

    x: float
    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Spot:
    """One candidate: its score at `x` of another measure, `is_front` if none is better in both that and all others."""

    x: float
    score: float
    is_front: bool = False
    is_best: bool = False


def chart(points: Sequence[Point], baseline: float | None, label: str, unit: str) -> str:
    """Return the course of the best, in steps, of at most 500 points in their order; `unit` stands before ticks."""
    kept = _thinned(points)
    most = max(point.x for point in kept) or 1.0
    ends = [one for point in kept for one in (point.low, point.high, point.score)] + [baseline or 0.0]
    low, high = min(0.0, *ends), max(1.0, *ends)
    at = _places(most, low, high)
    upper, lower = _steps([(p.x, p.high) for p in kept], at), _steps([(p.x, p.low) for p in kept], at)
    parts = [_axes(most, low, high, label, unit)]
    parts.append(f'<polygon class="band" points="{" ".join([*upper, *reversed(lower)])}"/>')
    parts.append(f'<polyline class="best" points="{" ".join(_steps([(p.x, p.score) for p in kept], at))}"/>')
    if baseline is not None:
        parts.append(_line("base", at(0, baseline), at(most, baseline)))
    first, last = kept[0], kept[-1]
    parts.append(_dot("dot", at(last.x, last.score), 3.5))
    told = (
        f"The best score so far against {label}: {100 * first.score:.1f} % after {unit}{first.x:,.4g}, "
        f"{100 * last.score:.1f} % after {unit}{last.x:,.4g}"
    )
    return _svg(told + ("" if baseline is None else f"; the untuned program has {100 * baseline:.1f} %"), parts)


def tradeoff_chart(spots: Sequence[Spot], label: str, unit: str) -> str:
    """Return scores against another measure, the front in colour and the best with a ring."""
    most = max(spot.x for spot in spots) or 1.0
    low, high = (end(*(spot.score for spot in spots), bound) for end, bound in ((min, 0.0), (max, 1.0)))
    at = _places(most, low, high)
    parts = [_axes(most, low, high, label, unit)]
    for spot in sorted(spots[-_MOST_POINTS:], key=lambda one: one.is_front):
        parts.append(_dot("dot" if spot.is_front else "other", at(spot.x, spot.score), 4))
        parts += [_dot("chosen", at(spot.x, spot.score), 8)] if spot.is_best else []
    front = sum(spot.is_front for spot in spots)
    return _svg(f"Scores of {len(spots)} candidates against {label}; {front} of them are on the front", parts)


def _places(most: float, low: float, high: float) -> Callable[[float, float], str]:
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> str:
        return f"{_LEFT + wide * x / most:.1f},{_TOP + tall * (high - y) / (high - low):.1f}"

    return at


def _steps(points: Sequence[tuple[float, float]], at: Callable[[float, float], str]) -> list[str]:
    """Return the corners of a line that holds each value until the next one comes."""
    found: list[str] = []
    for position, (x, y) in enumerate(points):
        if position:
            found.append(at(x, points[position - 1][1]))
        found.append(at(x, y))
    return found


def _axes(most: float, low: float, high: float, label: str, unit: str) -> str:
    at, parts = _places(most, low, high), []
    for value in _round_ticks(most):
        x, y = at(value, low).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 16:.1f}" text-anchor="middle">{escape(unit)}{value:,.4g}</text>')
    for tick in range(_TICKS + 1):
        value = low + (high - low) * tick / _TICKS
        x, y = at(0, value).split(",")
        place = f'x="{float(x) - 6:.1f}" y="{float(y) + 4:.1f}"'
        parts.append(f'<text {place} text-anchor="end">{100 * value:.0f} %</text>')
        parts.append(_line("grid", at(0, value), at(most, value)))
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(f'<text x="{middle:g}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(label)}</text>')
    return "".join(parts)


def _round_ticks(most: float) -> list[float]:
    """Return numbers from 0 to at most `most`, one, two or five times a power of ten apart."""
    rough = most / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(one * power for one in (1, 2, 5, 10) if one * power >= rough * (1 - 1e-9))
    return [apart * number for number in range(int(most / apart * (1 + 1e-9)) + 1)]


def _line(kind: str, start: str, end: str) -> str:
    (x1, y1), (x2, y2) = start.split(","), end.split(",")
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _dot(kind: str, place: str, radius: float) -> str:
    x, y = place.split(",")
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius:g}"/>'


def _svg(told: str, parts: Sequence[str]) -> str:
    named = escape(told)
    return (
        f'<svg role="img" aria-label="{named}" viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{named}</title>'
        f"{''.join(parts)}</svg>"
    )


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(_MOST_POINTS)]
