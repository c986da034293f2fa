"""Measures, money and spans of time as people read them."""

from __future__ import annotations

from dspex_ray.terminal import percent

_SHARES = ("score", "score_low", "score_high", "reliability")
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def figure(measure: str, value: float | None) -> str:
    """Return a measure's value with its unit."""
    if value is None or measure in _SHARES:
        return percent(value)
    if measure.endswith("_usd"):
        return money(value)
    return f"{value:.3g} s" if measure.endswith("_s") else f"{value:.4g}"


def money(value: float) -> str:
    """Return US dollars, with six digits for what is less than a cent."""
    return f"${value:.6f}" if 0 < value < 0.01 else f"${value:.4f}"  # noqa: PLR2004 - a cent


def span(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    for unit, name in _SPANS:
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
