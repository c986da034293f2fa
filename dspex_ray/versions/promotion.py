"""Moving a label to a version that has shown itself on held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dspex_ray.calls import tagged
from dspex_ray.calls.ledger_context import ledger
from dspex_ray.comparison import Comparison, compare
from dspex_ray.data import Dataset, load_data
from dspex_ray.evaluation import Evaluation, evaluate
from dspex_ray.evaluation.run import Progress
from dspex_ray.lm.base import LM
from dspex_ray.metrics import Metric, default_metric, resolve_metric
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.store import LabelMove, MoveLabel, Store, Version
from dspex_ray.store.labels import check_label
from dspex_ray.versions.gate import Gate
from dspex_ray.versions.leaks import Leak, leaks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What a promotion is judged by: rows the version has not seen, a metric, a model other than the version's own."""

    data: Any
    metric: str | Metric | None = None
    mapping: Mapping[str, str] | None = None
    lm: str | LM | None = None
    concurrency: int = 16
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What came of a promotion. `move` is None if it was refused, for `refusals`, or the label stood there already.

    `gap` is the score the version was chosen by minus the one on held-out rows, None where either is not known.
    """

    version: Version
    label: str
    before: int | None
    move: LabelMove | None
    refusals: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()
    held_out: Evaluation | None = None
    comparison: Comparison | None = None
    gap: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON."""
        return {
            "program": self.version.program,
            "version": self.version.number,
            "label": self.label,
            "before": self.before,
            "promoted": self.move is not None,
            **_facts(self),
        }


def promote(  # noqa: PLR0913 - all keyword-only behind what is promoted
    store: Store,
    program: str,
    which: str | int,
    *,
    label: str,
    held_out: HeldOut | None,
    by: str,
    now: float,
    gate: Gate | None = None,
    force: bool = False,
    why: str = "",
    only_judge: bool = False,
) -> Promotion:
    """Score a version and the label's present one on held-out rows, and move the label unless the gate refuses it.

    Both answer the same rows and are compared row by row. Rows the version has seen are refused before any model call.
    `force` moves the label all the same; the refusals are kept with the move. `only_judge` never moves it. Raises
    UnknownNameError for a version that is not there, UsageError for a bad label or one moved meanwhile, and what an
    evaluation raises.
    """
    check_label(label)
    version, gate = store.version(program, which), gate or Gate()
    before = store.labels(program).get(label)
    if before == version.number:
        return Promotion(version=version, label=label, before=before, move=None)
    found = Promotion(version=version, label=label, before=before, move=None)
    if held_out is not None:
        found = _judged(store, found, held_out, gate, force=force)
    elif not force:
        return Promotion(
            version=version, label=label, before=before, move=None, refusals=("no held-out rows to show itself on",)
        )
    if only_judge or (found.refusals and not force):
        return found
    forced = {"forced": force and (held_out is None or bool(found.refusals))}
    ask = MoveLabel(
        program=program,
        label=label,
        kind="promote",
        to=version.number,
        by=by,
        at=now,
        why=why,
        facts={**_facts(found), **forced},
        expected=before,
    )
    return replace(found, move=store.move_label(ask))


def _judged(store: Store, found: Promotion, held_out: HeldOut, gate: Gate, *, force: bool) -> Promotion:
    candidate = _program(found.version, held_out)
    dataset = load_data(held_out.data, type(candidate), mapping=held_out.mapping)
    leaks = leaks_of(found.version, dataset, store)
    if leaks and not force:
        return replace(found, leaks=leaks, refusals=gate.refusals(None, leaks))
    mine = _scored(store, candidate, found.version, dataset, held_out)
    comparison = None
    if found.before is not None:
        holder = store.version(found.version.program, found.before)
        comparison = compare(_scored(store, _program(holder, held_out), holder, dataset, held_out), mine, by="row")
    chosen_by = found.version.facts.get("score")
    return replace(
        found,
        leaks=leaks,
        refusals=gate.refusals(comparison, leaks),
        held_out=mine,
        comparison=comparison,
        gap=None if chosen_by is None else chosen_by - mine.mean,
    )


def _program(version: Version, held_out: HeldOut) -> Program:
    program = program_from_state(version.state)
    return program if held_out.lm is None else program.with_lm(held_out.lm)


def _scored(store: Store, program: Program, version: Version, dataset: Dataset, held_out: HeldOut) -> Evaluation:
    given = held_out.metric
    metric = default_metric(type(program), dataset) if given is None else resolve_metric(given)
    with ledger(store), tagged(version=str(version.number)):
        return evaluate(program, dataset, metric=metric, concurrency=held_out.concurrency, progress=held_out.progress)


def _facts(found: Promotion) -> dict[str, Any]:
    mine = found.held_out
    names = ("low", "high", "rows", "fingerprint", "metric", "cost_usd")
    return {
        "refusals": list(found.refusals),
        "leaks": [{"where": leak.where, "rows": list(leak.rows)} for leak in found.leaks],
        "held_out": None if mine is None else {"score": mine.mean, **{name: getattr(mine, name) for name in names}},
        "comparison": None if found.comparison is None else found.comparison.to_json(),
        "gap": found.gap,
    }
