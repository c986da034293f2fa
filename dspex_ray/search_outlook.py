"""What to expect of a search before it runs: which optimizer and why, trials, calls, money, and what ends it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

from dspex_coordination.sweep import StopRule
from dspex_coordination.sweep.closing import look_rows
from dspex_ray.data import Dataset
from dspex_ray.errors import UsageError
from dspex_ray.estimation import Estimate, Range, estimate
from dspex_ray.intervals import wilson
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS
from dspex_ray.search import CLOSING_ROWS, Search
from dspex_ray.search_plan import SearchPlan

MINIBATCH: Final = 16
"""Train rows below which an optimizer that looks at a few of them at a time looks at all."""

_ROUND: Final = 2  # the untuned program and one candidate, which is the least that can be compared
_FEW_ROWS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends a search beside its trials: US dollars, model calls, seconds, trials without anything better."""

    usd: float | None = None
    hard_usd: float | None = None
    calls: int | None = None
    seconds: float | None = None
    patience: int | None = None

    @property
    def can_be_too_small(self) -> bool:
        """Whether a round may cost more than these allow."""
        return any(one is not None for one in (self.usd, self.hard_usd, self.calls))

    @classmethod
    def of(cls, *, usd: float | None, hard_usd: float | None, stop: StopRule | None) -> Limits:
        """Return the limits of a request; of a combined rule those parts of which each ends the search."""
        rule = {} if stop is None else stop.to_json()
        parts = [rule] if rule.get("kind") != "any" else rule["rules"]

        def least(kind: str, name: str) -> Any:
            return min((part[name] for part in parts if part.get("kind") == kind), default=None)

        return cls(
            usd=usd,
            hard_usd=hard_usd,
            calls=least("calls", "calls"),
            seconds=least("time", "seconds"),
            patience=least("no_improvement", "trials"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is expected of a search; `cost_usd` is None where a price is not known.

    `calls` and `cost_usd` are those of scoring validation rows and, at the end, the best on at most `last_look_rows`
    train rows, which tells the held-out gap; what else an optimizer asks for is said in `notes`.
    """

    optimizer: str
    reason: str
    trials: int
    train_rows: int
    validation_rows: int
    calls: Range
    cost_usd: Range | None
    ends: tuple[str, ...]
    notes: tuple[str, ...] = ()
    last_look_rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the outlook as JSON values."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """Return it as lines for people."""
        cost = "a cost that is not known"
        if self.cost_usd is not None:
            free = not self.cost_usd.high
            cost = "at no cost" if free else f"${self.cost_usd.low:.4f} to ${self.cost_usd.high:.4f}"
        likely = f"at most {self.trials} trials on {self.validation_rows} validation rows"
        if self.last_look_rows:
            likely += f", and for the gap a last look at {self.last_look_rows} train rows"
        return [
            f"{self.optimizer}: {self.reason}" if self.reason else self.optimizer,
            f"Expect {likely}: {self.calls.low:,.0f} to {self.calls.high:,.0f} calls, {cost}.",
            f"It ends with the first of: {', '.join(self.ends)}.",
            *self.notes,
        ]


def expected_of(plan: SearchPlan, limits: Limits) -> Outlook:
    """Return what to expect of a search that is about to begin, at no cost. Raises UsageError as `outlook` does."""
    rows = Dataset((*plan.train.examples, *plan.validation.examples), plan.train.source)
    guessed = estimate(plan.program, rows, metric=plan.metric, trials=2, seed=plan.search.context.seed)
    return outlook(plan.search, guessed, limits, plan.reason)


def outlook(search: Search, guessed: Estimate, limits: Limits, reason: str = "") -> Outlook:
    """Return what to expect of a search, given an estimate of the same program on such rows.

    `reason` says why this optimizer was chosen. The least is a round: the untuned program and one candidate on all
    validation rows. Raises UsageError if the limits cannot pay for that.
    """
    context = search.context
    possible = context.space.bind(context.train_ids, context.train_labels).count(context.max_trials)
    trials = min(context.max_trials, possible or context.max_trials)
    calls, cost = _each(guessed.calls, guessed), _each(guessed.cost_usd, guessed)
    _require_round(calls, cost, context.validation_rows, limits)
    least = min(trials, _ROUND) * context.validation_rows
    most = trials * context.validation_rows
    first, last = (min(look_rows(scored, CLOSING_ROWS), context.train_rows) for scored in (least, most))
    # an optimizer that has looked at enough train rows of the best needs no last look
    times = (least + (0 if search.optimizer in PROGRAM_OPTIMIZERS else first), most + last, most + last)
    return Outlook(
        optimizer=search.optimizer,
        reason=reason,
        trials=trials,
        train_rows=context.train_rows,
        validation_rows=context.validation_rows,
        calls=(calls or Range(0.0, 0.0, 0.0)).times(*times),
        cost_usd=None if cost is None else cost.times(*times),
        ends=_ends(trials, limits),
        notes=_notes(search),
        last_look_rows=last,
    )


def _each(total: Range | None, guessed: Estimate) -> Range | None:
    """Return what one row takes."""
    if total is None:
        return None
    rows = guessed.rows
    return Range(total.low / rows.low, total.likely / rows.likely, total.high / rows.high)


def _require_round(calls: Range | None, cost: Range | None, rows: int, limits: Limits) -> None:
    scored = _ROUND * rows
    least_calls = 0 if calls is None else math.ceil(calls.low * scored)
    least_usd = 0.0 if cost is None else cost.low * scored
    budgets = [one for one in (limits.usd, limits.hard_usd) if one is not None]
    short = [f"{limits.calls} calls"] if limits.calls is not None and limits.calls < least_calls else []
    short += [f"${min(budgets):g}"] if budgets and min(budgets) < least_usd else []
    if short:
        needed = f"at least {least_calls:,} calls" + (f" / ${_up(least_usd)}" if least_usd else "")
        raise UsageError(
            f"The budget of {' and '.join(short)} is too small for one round: {needed} make sense, for the untuned "
            f"program and one candidate on {rows} validation rows. Give more, or fewer rows to choose by."
        )


def _up(usd: float) -> str:
    """Return US dollars rounded up to two digits that count, so that asking for them is enough."""
    digits = 1 - math.floor(math.log10(usd))
    return f"{math.ceil(usd * 10**digits) / 10**digits:.{max(digits, 0)}f}"


def _ends(trials: int, limits: Limits) -> tuple[str, ...]:
    told = {
        "${:g} spent": limits.usd,
        "${:g} as a hard limit": limits.hard_usd,
        "{:,} model calls": limits.calls,
        "{:,.0f} s": limits.seconds,
        "{} trials without anything better": limits.patience,
    }
    return (f"{trials} trials", *(text.format(value) for text, value in told.items() if value is not None))


def _notes(search: Search) -> tuple[str, ...]:
    train, held = search.context.train_rows, search.context.validation_rows
    notes: list[str] = []
    if search.optimizer in PROGRAM_OPTIMIZERS:
        notes.append("It also runs the program on train rows and may have instructions written, at a cost not in this.")
        if train < MINIBATCH:
            notes.append(f"There are {train} train rows, fewer than a minibatch of {MINIBATCH}: each look is at all.")
    if held < _FEW_ROWS:
        low, high = wilson(held // 2, held)
        notes.append(f"{held} validation rows tell a score to about {50 * (high - low):.0f} points up or down.")
    return tuple(notes)
