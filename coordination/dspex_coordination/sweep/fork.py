"""`forked`: a new search that begins with what an earlier run has found, where that still fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dspex_coordination.errors import SpaceError
from dspex_coordination.objectives import best_of, measured
from dspex_coordination.optimizers.base import SearchContext, Told
from dspex_coordination.space import Space
from dspex_coordination.sweep.reading import SweepReader
from dspex_coordination.sweep.record import SweepRecord, TrialRecord


def forked(context: SearchContext, store: SweepReader, run_id: str) -> SearchContext:
    """Return the context with the finished trials of an earlier run as `earlier`, and the best of them in `early`.

    Trials count whose values fit the present space. The earlier run stays as it is. Raises UnknownSweepError.
    """
    record = store.load(run_id)
    found = tuple(told for told in _told(store, record) if _fits(context.space, told))
    best = best_of([told for told in found if told.split == "validation" and measured(told, context)], context)
    early = {candidate.key: candidate for candidate in context.early}
    if best is not None:
        early.setdefault(best.candidate.key, best.candidate)
    return replace(context, earlier=(*context.earlier, *found), early=tuple(early.values()))


def _told(store: SweepReader, record: SweepRecord) -> Iterator[Told]:
    """Yield the scored trials in order; rows taken over from an earlier trial are looked up there."""
    recorded: dict[int, dict[int, float | None]] = {}
    for row in store.stream_rows(record.run_id):
        recorded.setdefault(row.trial, {})[row.result.row] = row.result.score
    known: dict[tuple[str, str], dict[int, float | None]] = {}
    for trial in store.trials(record.run_id):
        if trial.teacher:
            continue  # says nothing of the candidate
        scores = known.setdefault((trial.candidate.key, trial.split), {})
        scores |= recorded.get(trial.number, {})
        if trial.told_at is not None and trial.failed is None and trial.split != "errand":
            yield _as_told(trial, tuple(record.rows_of(trial)), scores)


def _as_told(trial: TrialRecord, rows: tuple[int, ...], scores: dict[int, float | None]) -> Told:
    blank = (None,) * len(rows)
    return Told(
        trial.number,
        trial.candidate,
        trial.split,
        rows,
        tuple(scores.get(row) for row in rows),
        blank,
        trial.cost_usd,
        None,
        trial.measures,
    )


def _fits(space: Space, told: Told) -> bool:
    try:
        space.validate(told.candidate.values)
    except SpaceError:
        return False
    return True
