"""`Turns`: who is next to be told or asked. In a reproducible sweep the workers have no say in it.

Each turn is journalled before the optimizer hears of it: first what was recorded, then tells and asks one by one, each
tell with the asks before it in one transaction. So a driver that dies between two of them leaves a journal from which
the next one goes on with the very next step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dspex_coordination.errors import OptimizerError, SpaceError, SweepError
from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext
from dspex_coordination.sweep import journal
from dspex_coordination.sweep.closing import closing_ask
from dspex_coordination.sweep.record import Attempt, Event, RecordedRow
from dspex_coordination.sweep.reuse import KnownRows
from dspex_coordination.sweep.scoreboard import Scoreboard
from dspex_coordination.sweep.trial import Trial

Remake = Callable[[int], Optimizer]
"""Returns a fresh optimizer for so many trials."""


@dataclass(slots=True)
class Batch:
    """What one transaction writes."""

    notes: list[Event] = field(default_factory=list)
    results: list[RecordedRow] = field(default_factory=list)
    tried: list[Attempt] = field(default_factory=list)
    hooks: list[journal.Hook] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.notes or self.results or self.tried or self.hooks)


class Turns:
    """The trials of one sweep, and the optimizer that is asked for them and told of them."""

    def __init__(self, log: journal.Journal, optimizer: Optimizer, context: SearchContext) -> None:
        self.trials: dict[int, Trial] = {}
        self.open: dict[int, Trial] = {}
        self.left_out: dict[tuple[str, int], str] = {}
        self.optimizer, self.context = optimizer, context
        self.board = Scoreboard(context)
        self.pending, self.ordered = 1, True
        self._log = log
        self._known = KnownRows(log.fetch)
        self._seats = 0  # trials that the optimizer has asked
        self._waits = False  # the optimizer has nothing to ask before it is told more

    def replay(self, calls: Mapping[int, int], heard: Callable[[], object]) -> None:
        """Repeat the journal; `calls` are those of each trial, `heard` is called after each tell."""

        def told(trial: Trial) -> None:
            trial.calls = calls.get(trial.number, 0)
            self.board.note(trial)
            heard()

        replayed = self._log.replay(self.optimizer, self.context, self._known, told)
        self.trials, self.left_out = replayed.trials, replayed.left_out
        self._seats = sum(trial.seat is not None for trial in self.trials.values())
        self.open = {number: trial for number, trial in self.trials.items() if trial.told is None}
        for trial in self.open.values():
            trial.calls = calls.get(trial.number, 0)

    def allow(self, trials: int, remake: Remake | None) -> None:
        """Go on with an optimizer for so many trials, if they are more, once it has been through the journal.

        Raises SweepError, and leaves all as it is, if none can be made, or if it would have asked for something else.
        """
        if trials <= self.context.max_trials:
            return
        if remake is None:
            raise SweepError("The sweep cannot be given more trials while it runs; resume it with them.")
        optimizer, context = remake(trials), replace(self.context, max_trials=trials)
        optimizer.start(context)
        self._log.copy().replay(optimizer, context, KnownRows(self._log.fetch))
        self.optimizer, self.context, self._waits = optimizer, context, False

    def leave_out(self, split: str, row: int, reason: str) -> None:
        """Do without a row in every trial that does not have it yet."""
        self.left_out[split, row] = reason
        for trial in self.open.values():
            journal.leave_out(trial, self.left_out)

    def go_on(self, now: float, batch: Batch, may_ask: Callable[[], bool]) -> list[Trial]:
        """Write the batch, tell and ask whatever is due, and return the new trials."""
        asked: list[Trial] = []
        while True:
            asked += self._ask(batch, may_ask)
            head = self._head()
            if head is None:
                break
            told = head.tell(head.cost_usd if head.failed is None or not self.ordered else 0.0)
            batch.notes.append(journal.told(told, is_aside=head.is_aside))
            self._write(now, batch)
            del self.open[head.number]
            self._known.note(head)
            if head.seat is not None:
                self.optimizer.tell(replace(told, number=head.seat))
            self.board.note(head)
            self._waits = False
        self._write(now, batch)
        return asked

    def close(self, now: float, most: int) -> list[Trial]:
        """Ask for the last look at the best on train rows, at most so many, unless it was the last to be asked."""
        last = self.trials.get(len(self.trials) - 1)
        best = self.board.leaders.best
        if most < 1 or self.open or last is None or last.seat is None or best is None:
            return []
        known = self._known.rows(best.candidate, "train") | {row for split, row in self.left_out if split == "train"}
        ask = closing_ask(best, self.context, known, self.board.standing(0.0).rows, most)
        if ask is None:
            return []
        trial = Trial(len(self.trials), ask, self.context.train_rows)
        journal.leave_out(trial, self.left_out)
        self.trials[trial.number] = self.open[trial.number] = trial
        self._write(now, Batch(notes=[journal.asked_at_end(trial.number, ask)]))
        return [trial]

    @property
    def best(self) -> Trial | None:
        """The best trial, None as long as there is none: as `SearchRun.best` finds it in the store, too."""
        best = self.board.leaders.best
        return None if best is None else self.trials[best.number]

    def hold(self, now: float, batch: Batch) -> None:
        """Write the batch; nobody is told or asked, so that the next turn is the same as if there had been no break."""
        self._write(now, batch)

    @property
    def is_over(self) -> bool:
        """Whether no trial is open and the optimizer has none to ask."""
        return not self.open and self.optimizer.done

    def _write(self, now: float, batch: Batch) -> None:
        if batch:
            self._log.append(now, batch.notes, batch.results, batch.tried, batch.hooks)
            for part in (batch.notes, batch.results, batch.tried, batch.hooks):
                part.clear()

    def _head(self) -> Trial | None:
        for trial in self.open.values():
            if trial.complete:
                return trial
            if self.ordered:
                return None
        return None

    def _ask(self, batch: Batch, may_ask: Callable[[], bool]) -> list[Trial]:
        asked: list[Trial] = []
        while not self._waits and len(self.open) < self.pending and may_ask():
            pending = len(self.open)
            ask = self.optimizer.ask(pending)
            if ask is None:
                if pending == 0 and not self.optimizer.done:
                    raise OptimizerError(f"{self.optimizer.name} waits for a pending trial, but none is pending.")
                self._waits = True
                break
            rows = self.context.rows_of(ask.split)
            trial = Trial(len(self.trials), self._checked(ask), rows, self._seats)
            self._seats += 1
            journal.leave_out(trial, self.left_out)
            self._known.offer(trial)
            batch.notes.append(journal.asked(trial.number, ask, pending))
            self.trials[trial.number] = self.open[trial.number] = trial
            asked.append(trial)
        return asked

    def _checked(self, ask: Ask) -> Ask:
        owner, count = self.optimizer.name, self.context.rows_of(ask.split)
        try:
            if ask.split != "errand":
                self.context.space.validate(ask.candidate.values)
        except SpaceError as error:
            raise OptimizerError(f"{owner} asked for a candidate outside the space. {error}") from error
        rows = range(count) if ask.rows is None else ask.rows
        if not rows or len(set(rows)) < len(rows) or not all(0 <= row < count for row in rows):
            raise OptimizerError(
                f"{owner} asked for rows {ask.rows!r} of {ask.split}; it needs different rows from 0 to {count - 1}."
            )
        return ask
