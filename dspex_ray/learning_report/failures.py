"""What is to be said of trials that failed: they have no score, whatever their candidates are worth."""

from __future__ import annotations

from collections.abc import Sequence

from dspex_coordination.sweep import TrialSummary

_LONGEST = 300


def failure_cautions(trials: Sequence[TrialSummary]) -> tuple[str, ...]:
    """Return a warning that counts the trials that failed and says why the first one did; () if none did."""
    failed = [one for one in trials if one.failed is not None]
    if not failed:
        return ()
    first = failed[0]
    why = str(first.failed)
    why = why if len(why) <= _LONGEST else f"{why[:_LONGEST]}..."
    many = f"{len(failed)} of {len(trials)} trials"
    return (f"{many} failed and say nothing of their candidates, the first (trial {first.number}) by {why}",)
