"""The course of an experiment as SVG: a difference with its confidence sequence over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from dspex_ray.experiments.metrics import Metric

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 240, 76, 24, 12, 40
_TICKS = 6
_BEYOND = 3.0  # the axis reaches so many times the last half width: the first intervals are far wider
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was known of a difference at a time (seconds since the epoch)."""

    at: float
    estimate: float
    low: float
    high: float


def difference_chart(looks: Sequence[Look], metric: Metric, title: str) -> str:
    """Return the chart; "" where nothing is known yet at any look. Bands beyond the axis are cut off."""
    known = [one for one in looks if math.isfinite(one.low) and math.isfinite(one.high)]
    if not known:
        return ""
    last = known[-1]
    reach = _BEYOND * (last.high - last.low) / 2
    least, most = min(0.0, last.estimate - reach), max(0.0, last.estimate + reach)
    begin, end = looks[0].at, max(looks[-1].at, looks[0].at + 1.0)
    at = _places((begin, end), (least, most))
    upper, lower = [at(one.at, one.high) for one in known], [at(one.at, one.low) for one in known]
    parts = [_axes((begin, end), (least, most), metric)]
    parts.append(f'<polygon class="band" points="{" ".join([*upper, *reversed(lower)])}"/>')
    parts.append(f'<polyline class="best" points="{" ".join(at(one.at, one.estimate) for one in known)}"/>')
    parts.append(_line("base", at(begin, 0.0), at(end, 0.0)))
    x, y = at(last.at, last.estimate).split(",")
    parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"/>')
    told = (
        f"{metric.told(last.estimate)} ({metric.told(last.low)} to {metric.told(last.high)}) {metric.unit} at the end"
    )
    named = escape(f"{title}: {told}", quote=True)
    return (
        f'<svg role="img" aria-label="{named}" viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{named}</title>'
        f"{''.join(parts)}</svg>"
    )


def _places(times: tuple[float, float], values: tuple[float, float]) -> Callable[[float, float], str]:
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    (begin, end), (least, most) = times, values

    def at(time: float, value: float) -> str:
        inside = min(max(value, least), most)
        across, down = (time - begin) / (end - begin), (most - inside) / ((most - least) or 1.0)
        return f"{_LEFT + wide * across:.1f},{_TOP + tall * down:.1f}"

    return at


def _axes(times: tuple[float, float], values: tuple[float, float], metric: Metric) -> str:
    at, parts = _places(times, values), []
    (begin, end), (least, most) = times, values
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        time = begin + (end - begin) * share
        x, y = at(time, least).split(",")
        told = _time(time, end - begin)
        parts.append(f'<text x="{x}" y="{float(y) + 16:.1f}" text-anchor="{anchor}">{told}</text>')
    for value in _round_ticks(least * metric.scale, most * metric.scale):
        x, y = at(begin, value / metric.scale).split(",")
        parts.append(f'<text x="{float(x) - 6:.1f}" y="{float(y) + 4:.1f}" text-anchor="end">{value:+,.6g}</text>')
        parts.append(_line("grid", at(begin, value / metric.scale), at(end, value / metric.scale)))
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(f'<text x="{middle:g}" y="{_HEIGHT - 4}" text-anchor="middle">UTC; {escape(metric.unit)}</text>')
    return "".join(parts)


def _round_ticks(least: float, most: float) -> list[float]:
    """Return numbers from `least` to `most`, 0 among them, one, two or five times a power of ten apart."""
    rough = (most - least) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(one * power for one in (1, 2, 5, 10) if one * power >= rough * (1 - 1e-9))
    return [apart * number for number in range(math.ceil(least / apart), math.floor(most / apart) + 1)]


def _time(at: float, length: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):{'%Y-%m-%d %H:%M' if length > _DAY_S / 24 else '%H:%M:%S'}}"


def _line(kind: str, start: str, end: str) -> str:
    (x1, y1), (x2, y2) = start.split(","), end.split(",")
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
