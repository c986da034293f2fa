"""What is to be said of a teacher, by the rows that it solved."""

from __future__ import annotations

from collections.abc import Sequence

from dspex_coordination.sweep import TrialSummary
from dspex_ray.intervals import interval


def teacher_cautions(trials: Sequence[TrialSummary]) -> tuple[str, ...]:
    """Return a warning if a teacher scored less than the program by itself, beyond chance; () otherwise.

    They are compared on the train rows that both were scored on, where there are some; otherwise by the teacher's score
    on train rows and that of the untuned program on validation rows, which are no others in kind.
    """
    taught, own = _scores(trials, teacher=True), _scores(trials, teacher=False)
    both = taught.keys() & own.keys()
    where = "train rows that both were scored on" if both else "train rows, the program on validation rows"
    if both:
        taught, mine = {row: taught[row] for row in both}, [own[row] for row in sorted(both)]
    else:
        mine = [one or 0.0 for one in trials[0].scores] if trials else []
    if not taught or not mine:
        return ()
    score, by_itself = sum(taught.values()) / len(taught), sum(mine) / len(mine)
    if interval([taught[row] for row in sorted(taught)])[1] >= by_itself:
        return ()
    said = (
        f"The teacher scored {100 * score:.1f} %, less than the {100 * by_itself:.1f} % of the program by itself "
        f"({len(taught)} {where}): its demonstrations can teach little. They were chosen on validation rows all the "
        "same, so that they did no harm."
    )
    return (said,)


def _scores(trials: Sequence[TrialSummary], *, teacher: bool) -> dict[int, float]:
    found: dict[int, float] = {}
    for one in trials:
        if one.split == "train" and one.teacher == teacher and one.failed is None:
            found |= {row: score or 0.0 for row, score in zip(one.rows, one.scores, strict=True)}
    return found
