"""The worst and the best rows of the best candidate."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from dspex_coordination.sweep.work import RowResult
from dspex_ray.example import Example
from dspex_ray.learning_report.learnt import Learnt
from dspex_ray.learning_report.markup import lines, table

_MOST_WORST, _MOST_BEST = 20, 10
_NUMBERS = ("row", "score")


def rows_section(found: Learnt) -> str:
    """Return the 20 rows of the lowest and the 10 of the highest score; inputs are shown where they are known."""
    if not found.rows:
        return ""
    worst = heapq.nsmallest(_MOST_WORST, found.rows, key=lambda one: (one.score or 0.0, one.error is None, one.row))
    taken = {one.row for one in worst}
    others = [one for one in found.rows if one.row not in taken]
    best = heapq.nsmallest(_MOST_BEST, others, key=lambda one: (-(one.score or 0.0), one.row))
    note = f"Of {len(found.rows):,} validation rows of the best candidate."
    if not found.examples:
        note += " The store keeps no inputs: `Optimized.report` shows them."
    told = f'<p class="small">{note}</p>'
    shown = f"<h2>Worst rows</h2>{told}{_row_table('Worst rows', worst, found.examples)}"
    return shown + (f"<h2>Best rows</h2>{_row_table('Best rows', best, found.examples)}" if best else "")


def _row_table(name: str, rows: Sequence[RowResult], examples: Sequence[Example]) -> str:
    says = any(one.feedback or one.error for one in rows)
    heads = ("row", "score", *(("input", "expected") if examples else ()), "output", *(("said of it",) if says else ()))
    return table(name, heads, (_row(one, examples, says=says) for one in rows), _NUMBERS)


def _row(one: RowResult, examples: Sequence[Example], *, says: bool) -> tuple[str, ...]:
    asked = examples[one.row] if one.row < len(examples) else None
    given = ("", "") if asked is None else (lines(asked.input), lines(asked.output))
    score = "-" if one.score is None else f"{one.score:.3f}"
    told = dict.fromkeys(text for text in (one.error, one.feedback) if text)  # an error is its own feedback
    said = ("\n".join(told),) if says else ()
    return (str(one.row + 1), score, *(given if examples else ()), lines(one.output), *said)
