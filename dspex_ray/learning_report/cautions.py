"""What to be careful about in the result of an optimisation, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dspex_ray.example import Example
from dspex_ray.program_optimizers.proposals_guard import copied_from

_LARGE_GAP = 0.1
_WIDE = 0.2  # of a 95 % interval, end to end
_LONGEST = 80
_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a search came to: the best's interval on `rows` rows, `gap` (train minus validation score), None if unknown.

    `candidate_scores` are the means of all that were scored, `copied` what instructions hold of training inputs, by
    the name of the instruction.
    """

    low: float
    high: float
    rows: int
    gap: float | None = None
    baseline: float | None = None
    score: float | None = None
    candidate_scores: Sequence[float] = ()
    copied: Mapping[str, str] = field(default_factory=dict)


def cautions(found: Findings) -> tuple[str, ...]:
    """Return the warnings; () where there is nothing to warn of."""
    told: list[str] = []
    if found.gap is not None and found.gap > _LARGE_GAP:
        told.append(
            f"The score on rows learnt from is {100 * found.gap:.1f} points above that on validation rows: "
            "what was found fits the rows it was found with."
        )
    told += [
        f"{name or 'instruction'} repeats the input of a training row: {_short(text)}"
        for name, text in found.copied.items()
    ]
    if len(found.candidate_scores) >= _TWO and len(set(found.candidate_scores)) == 1:
        told.append(
            f"All {len(found.candidate_scores)} scored candidates scored {100 * found.candidate_scores[0]:.1f} %, so "
            "nothing could be learnt: nothing that was searched matters, or the metric cannot tell outputs apart."
        )
    if found.high - found.low > _WIDE:
        rows = "1 validation row leaves" if found.rows == 1 else f"{found.rows} validation rows leave"
        told.append(
            f"{rows} a wide interval, {100 * found.low:.1f} to {100 * found.high:.1f} %: "
            "a difference within it may be chance."
        )
    if found.baseline is not None and found.score is not None and found.score <= found.baseline:
        told.append("No candidate was better than the untuned program.")
    return tuple(told)


def copied_instructions(told: Mapping[str, str], untuned: Mapping[str, str], rows: Sequence[Example]) -> dict[str, str]:
    """Return what the instructions that were changed hold of the inputs of `rows`, word by word."""
    changed = {name: text for name, text in told.items() if text != untuned.get(name)}
    found = {name: copied_from(text, rows) for name, text in changed.items()}
    return {name: text for name, text in found.items() if text is not None}


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
