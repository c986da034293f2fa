"""When a child that ended is restarted, and how often is too often."""

from __future__ import annotations

from dspex_agents.supervision.child_spec import AnySpec

NORMAL_REASONS = ("normal", "shutdown")


def comes_back(spec: AnySpec, reason: str) -> bool:
    """Say whether a child that ended by itself is restarted (OTP's table)."""
    match spec.restart, reason in NORMAL_REASONS:
        case ("permanent", _) | ("transient", False):
            return True
        case _:
            return False


def recent(times: tuple[float, ...], now: float, period_s: float) -> tuple[float, ...]:
    """Return the times within the last `period_s` seconds (OTP's add_restart)."""
    return tuple(t for t in times if now - t <= period_s)
