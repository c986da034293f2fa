"""All that a learning report tells of a run, read from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import fsum
from typing import Any

from dspex_coordination.analysis import FinishedTrial, SearchRun
from dspex_coordination.errors import UnknownSweepError
from dspex_coordination.objectives import Leaders
from dspex_coordination.sweep import SweepRecord, SweepStore
from dspex_coordination.sweep.search_run import search_run
from dspex_coordination.sweep.work import RowResult
from dspex_ray.errors import UsageError
from dspex_ray.example import Example
from dspex_ray.learning_report.cautions import Findings, cautions, copied_instructions
from dspex_ray.learning_report.changes import Change, changes, instructions_of
from dspex_ray.learning_report.chart import Point
from dspex_ray.store import Store, Version
from dspex_ray.store.calls import CallFilter, CostLine

_CANDIDATES, _LOOKS = "scoring on validation rows", "scoring on train rows"
_TEACHER, _LAST, _ERRANDS = (
    "the teacher on train rows",
    "last look at the best on train rows",
    "errands: texts that a model wrote",
)
_KINDS = (_CANDIDATES, _LOOKS, _TEACHER, _ERRANDS, _LAST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """One run at one moment. `best` and `baseline` are None before one is scored; `train` is the mean on train rows.

    `by_calls` and `by_cost` are the course of the best so far. `kinds` holds (trials, calls, US dollars) by what they
    were for; `rows` are those of the best, and `examples` what they asked, where that is known. `last_look` is the
    number of the trial that scored the best on train rows at the end, `demonstrations` are known by their ids; a
    `is_stale` run is called running, but nobody works at it.
    """

    record: SweepRecord
    run: SearchRun
    best: FinishedTrial | None
    baseline: FinishedTrial | None
    train: float | None
    by_calls: tuple[Point, ...]
    by_cost: tuple[Point, ...]
    changed: tuple[Change, ...]
    rows: tuple[RowResult, ...]
    kinds: Mapping[str, tuple[int, int, float]]
    models: tuple[CostLine, ...]
    warnings: tuple[str, ...]
    examples: Sequence[Example] = ()
    last_look: int | None = None
    is_stale: bool = False
    demonstrations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gap(self) -> float | None:
        """By how much the best scores higher on train rows than on validation rows; None if unknown."""
        if self.train is None or self.best is None:
            return None
        return self.train - self.best.measures["score"]


def learnt(
    store: Store,
    run_id: str,
    *,
    train: Sequence[Example] = (),
    validation: Sequence[Example] = (),
    now: float = 0.0,
) -> Learnt:
    """Return what a run has learnt until `now`, in seconds. Raises UsageError with near matches for an unknown run.

    The store holds no inputs: with `validation` the best and worst rows are shown with theirs, with `train` copies of
    training inputs in instructions are found also while the run goes on.
    """
    kept = SweepStore(store.database)
    try:
        record = kept.load(run_id)
    except UnknownSweepError as error:
        raise UsageError(str(error)) from error
    trials = kept.trials(run_id)
    run, calls = search_run(record, trials), kept.attempt_sums(run_id).calls
    last_look = next((one.number for one in trials if one.closing), None)
    best = run.best if run.best is not None and "score" in run.best.measures else None
    baseline = next((one for one in sorted(run.scored, key=lambda one: one.number) if one.number == 0), None)
    on_train = None if best is None else _train_score(kept, run, best)
    default = dict(run.space.default().values) if baseline is None else baseline.candidate.to_json()
    after = default if best is None else best.candidate.to_json()
    version = _version(store, record)
    facts = {} if version is None else version.facts
    copied = facts.get("copied") or copied_instructions(instructions_of(after), instructions_of(default), train)
    course = _course(run, calls)
    return Learnt(
        record=record,
        run=run,
        best=best,
        baseline=baseline,
        train=on_train,
        by_calls=tuple(point for point, _ in course),
        by_cost=tuple(Point(spent, point.score, point.low, point.high) for point, spent in course),
        changed=changes(default, after, _errands(kept, run)),
        rows=() if best is None else _rows(kept, run, best),
        kinds=_kinds(run, calls, last_look),
        models=tuple(store.costs(["model"], CallFilter(run=run_id))),
        # those of a result know more than can be told while a run goes on
        warnings=tuple(facts.get("warnings") or ()) or _warnings(run, best, baseline, on_train, copied),
        examples=validation,
        last_look=last_look,
        is_stale=record.is_stale(now),
        demonstrations=_demonstrations(version, train),
    )


def _course(run: SearchRun, calls: Mapping[int, int]) -> list[tuple[Point, float]]:
    """Return the best so far after each scored trial: against the calls made until then, and the money spent."""
    leaders: Leaders[FinishedTrial] = Leaders(run)
    rankable = {one.number for one in run.rankable}
    made = accumulate(calls.get(one.number, 0) for one in run.trials)
    spent = accumulate(one.cost_usd for one in run.trials)
    found: list[tuple[Point, float]] = []
    for trial, count, money in zip(run.trials, made, spent, strict=True):
        if trial.number not in rankable or "score" not in trial.measures:
            continue
        leaders.add(trial)
        told = (leaders.best or trial).measures
        score = told["score"]
        found.append((Point(count, score, told.get("score_low", score), told.get("score_high", score)), money))
    return found


def _rows(kept: SweepStore, run: SearchRun, best: FinishedTrial) -> tuple[RowResult, ...]:
    """Return the rows of the best, those too that earlier trials of the same candidate were scored on."""
    same = [one.number for one in run.trials if one.candidate == best.candidate and one.split == best.split]
    found: dict[int, RowResult] = {}
    for number in sorted(same):
        found |= {row.result.row: row.result for row in kept.rows(run.run_id, number)}
    wanted = set(best.rows)
    return tuple(found[row] for row in sorted(found) if row in wanted)


def _train_score(kept: SweepStore, run: SearchRun, best: FinishedTrial) -> float | None:
    scores: dict[int, float] = {}
    for one in run.trials:
        if one.split == "train" and not one.teacher and one.candidate == best.candidate and not one.failed:
            scores |= {row.result.row: row.result.score or 0.0 for row in kept.rows(run.run_id, one.number)}
    return fsum(scores.values()) / len(scores) if scores else None


def _errands(kept: SweepStore, run: SearchRun) -> dict[int, Any]:
    numbers = [one.number for one in run.trials if one.split == "errand" and not one.failed]
    answers = {number: kept.rows(run.run_id, number) for number in numbers}
    return {number: rows[0].result.output for number, rows in answers.items() if rows}


def _kinds(run: SearchRun, calls: Mapping[int, int], last_look: int | None) -> dict[str, tuple[int, int, float]]:
    found: dict[str, list[FinishedTrial]] = {name: [] for name in _KINDS}
    for one in run.trials:
        found[_kind(one, is_last=one.number == last_look)].append(one)
    return {
        name: (len(mine), sum(calls.get(one.number, 0) for one in mine), fsum(one.cost_usd for one in mine))
        for name, mine in found.items()
        if mine
    }


def _kind(trial: FinishedTrial, *, is_last: bool) -> str:
    if trial.split == "train":
        return _LAST if is_last else _TEACHER if trial.teacher else _LOOKS
    return _ERRANDS if trial.split == "errand" else _CANDIDATES


def _version(store: Store, record: SweepRecord) -> Version | None:
    program = record.fingerprint.get("program")
    found: list[Version] = store.versions(program) if isinstance(program, str) else []
    return next((one for one in reversed(found) if one.run_id == record.run_id), None)


def _demonstrations(version: Version | None, train: Sequence[Example]) -> dict[str, Any]:
    """Return what is shown under an id: the train rows where they are given, and those kept with the version."""
    known: dict[str, Any] = {one.id: {"input": one.input, "output": one.output} for one in train}
    if version is None or version.state is None:
        return known
    pools = [version.state.get("demo_pool"), *(version.state.get("part_pools") or {}).values()]
    return known | {one["id"]: one for pool in pools if pool for one in pool.get("examples", ())}


def _warnings(
    run: SearchRun,
    best: FinishedTrial | None,
    baseline: FinishedTrial | None,
    train: float | None,
    copied: Mapping[str, str],
) -> tuple[str, ...]:
    if best is None:
        return ("No candidate has been scored yet.",)
    score = best.measures["score"]
    found = Findings(
        low=best.measures.get("score_low", score),
        high=best.measures.get("score_high", score),
        rows=len(best.rows),
        gap=None if train is None else train - score,
        baseline=None if baseline is None else baseline.measures.get("score"),
        score=score,
        candidate_scores=[one.measures["score"] for one in run.scored if "score" in one.measures],
        copied=copied,
    )
    return cautions(found)
