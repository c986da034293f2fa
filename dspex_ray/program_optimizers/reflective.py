"""Reflective evolution: a model rewrites instructions from how runs went, and candidates breed by what they are worth.

Source: L. A. Agrawal et al., "GEPA: Reflective Prompt Evolution Can Outperform Reinforcement Learning", 2025,
arXiv:2507.19457. Own code, since a search here must repeat itself exactly from its seed and what it was told. What is
different: several attempts at once without a barrier; runs of a candidate are kept, so that a minibatch pays for new
rows only and a reflection sees all that went wrong; a child may breed before it was validated, by a shrunken estimate
of its worth from all its rows; in place of a Pareto front and merges of whole texts, the writer is shown the
instructions of others that can do what the parent cannot (crossover by a model, as in Q. Guo et al., "EvoPrompt", 2023,
arXiv:2309.08532); demonstrations and other variables change in the same search; validation rows are for who is likely
to become the best; texts that are too long or copy training inputs are refused.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.objectives.comparison import ranked, violation
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_ray.program_optimizers.reflective_demos import Showing
from dspex_ray.program_optimizers.reflective_moves import minibatch, searchable, varied
from dspex_ray.program_optimizers.reflective_pool import Individual, drawn_parent, hard_rows, incumbent, worths
from dspex_ray.program_optimizers.reflective_race import contender, is_better, is_perfect, next_part
from dspex_ray.program_optimizers.reflective_settings import ReflectiveSettings
from dspex_ray.program_optimizers.reflective_state import Evolution
from dspex_ray.program_optimizers.reflective_task import Duty, Task
from dspex_ray.program_optimizers.reflective_writing import Writer
from dspex_ray.program_optimizers.run_evidence import records_of
from dspex_ray.program_optimizers.shrunken_scores import Estimate
from dspex_ray.program_optimizers.sketch import ProgramSketch

_ATTEMPTS = 20  # draws of a parent and a change before an ask gives none
_MOST_CHUNKS = 4  # minibatches looked at for a mistake of the parent
_FROM_EARLIER = 3  # best candidates of earlier runs that are tried


class Reflective(SearchOptimizer):
    """Search by reflection; see the module. Settings are those of `ReflectiveSettings`.

    Rows are spent, not trials: it ends when it has asked for `max_trials` times the rows of the validation split, when
    a candidate is right on all of them, or after `patience` attempts without a new best one. `tally` counts how
    attempts ended. Raises OptimizerError for settings that cannot be, and from `start` for an objective other than the
    score, no train rows, or a program without an instruction that may be any text.
    """

    name = "reflective"

    def __init__(
        self, sketch: ProgramSketch, *, seed: int | None = None, max_trials: int | None = None, **settings: Any
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        self._sketch, self._settings_of = sketch, ReflectiveSettings.of(self.name, settings)

    @property
    def tally(self) -> Mapping[str, int]:
        """How many attempts ended how, by a word for it."""
        return self._state.tally

    def prepare(self) -> None:
        """Begin with the default and the early candidates, and the best ones of earlier runs."""
        context = self.context
        written = searchable(self.name, context, self.space, self._sketch)
        self._sign = 1.0 if context.objectives[0].direction == "maximize" else -1.0
        self._perfect = max(0.0, self._sign)
        texts = {one.instruction_name for one in written}
        self._showing = Showing(self._sketch, self.space, self._perfect)
        self._varied = [
            name
            for name in self.space.free
            if name not in texts and (self.space.variables[name].cardinality != 1 or name in self._showing.names)
        ]
        self._writer = Writer(self._sketch, written, self.space, self._settings_of, self._perfect)
        self._worth: dict[int, Estimate] | None = None
        self._order = seeded(context.seed, self.name, "validation").sample(
            range(context.validation_rows), context.validation_rows
        )
        self._state = Evolution()
        for number, candidate in enumerate(self.opening):
            self._state.pool.append(Individual(number, candidate, looked=context.validation_rows))
            self._state.duties[number] = ("race", number)
        known = {candidate.key for candidate in self.opening}
        earlier = {told.candidate.key: told.candidate for told in ranked(self.book.earlier, context)}
        for candidate in [one for key, one in earlier.items() if key not in known][:_FROM_EARLIER]:
            self._state.pool.append(Individual(len(self._state.pool), candidate))

    def spent(self) -> bool:
        """Whether no row is left to pay for."""
        return self.context.max_trials * self.context.validation_rows <= self.book.rows_asked

    def propose(self, number: int) -> Ask | None:
        """Return what brings an attempt nearer to its end, or else the first trial of a new one."""
        if self._is_solved():
            return None
        racer = contender(self._state.pool, self._worths(), self._state.racing())
        if racer is not None and self._may_validate():
            return self._validated(number, racer)
        if not self._state.ready:
            self._open()
        if self._state.ready:
            return self._asked(*self._state.take(number))
        return self._validated(number, racer) if racer is not None and not self.book.pending else None

    def learn(self, told: Told) -> None:
        """Take a result to whom it is for."""
        self._worth = None
        what, who = self._state.duties.pop(told.number, (None, 0))
        if what == "race":
            self._raced(self._state.pool[who], told)
        elif what is not None:
            task = self._state.tasks[who]
            {"look": self._looked, "write": self._wrote, "test": self._tested}[what](task, told)

    def extra_state(self) -> dict[str, Any]:
        """Return everything: outputs and notes are in no book."""
        return self._state.to_json()

    def load_extra(self, extra: Mapping[str, Any]) -> None:
        """Take over what `extra_state` gave."""
        self._state, self._worth = Evolution.from_json(extra), None

    def _worths(self) -> dict[int, Estimate]:
        if self._worth is None:
            self._worth = worths(self._state.pool)
        return self._worth

    def _asked(self, what: Duty, who: int) -> Ask:
        task = self._state.tasks[who]
        parent = self._state.pool[task.parent]
        if what == "write":
            return Ask(Candidate(next(iter(task.errands.values()))), split="errand")
        if what == "test":
            self._state.train_rows += len(task.rows)
            return Ask(Candidate(task.child or {}), "train", tuple(sorted(task.rows)), traced=True)
        missing = tuple(sorted(row for row in task.rows if row not in parent.records))
        self._state.train_rows += len(missing)
        return Ask(parent.candidate, "train", missing, traced=True)

    # ---- new attempts

    def _open(self) -> None:
        """Make something ready, if there is room for it; otherwise change nothing."""
        if len(self._state.open_attempts()) >= self._settings_of.at_once:
            return
        if max(self._state.stale, self._state.failures) >= self._settings_of.patience:
            return
        for attempt in range(_ATTEMPTS):
            if self._attempted(attempt):
                self._state.started += 1
                return

    def _attempted(self, attempt: int) -> bool:
        rng, settings = seeded(self.context.seed, self.name, self._state.started, attempt), self._settings_of
        parent = drawn_parent(self._state.pool, self._worths(), rng)
        if self._state.open_attempts().count(parent.number) >= settings.at_once_each:
            return False
        vary = bool(self._varied) and rng.random() < self._state.chance_to_vary(settings.vary)
        child = varied(self.space, self._varied, parent, self._state.pool, self._showing, rng) if vary else None
        if vary and (child is None or self._is_taken(child)):
            return False
        # what an accepted child is known by can be reflected on at once; later attempts with it pay for some new rows
        at_once = vary or (not parent.tried and self._has_mistake(list(parent.records), parent))
        known = settings.minibatch if at_once else settings.minibatch // 2
        rows = self._minibatch(parent, known, rng)
        task = Task(self._state.started, "vary" if vary else "reflect", parent.number, rows, parent.turn)
        task.child = None if child is None else child.to_json()
        task.crossed = rng.random() < settings.cross
        task.every_call = rng.random() < settings.every_call  # two calls may have to change for either to help
        if not rows or not self._advance(task, parent):
            return False
        self._state.tasks[task.number] = task
        parent.tried += 1
        parent.turn += not vary
        return True

    def _minibatch(self, parent: Individual, most_known: int, rng: random.Random) -> list[int]:
        taken = {*parent.records, *self._state.busy(parent.number)}
        new = [row for row in range(self.context.train_rows) if row not in taken]
        hard = hard_rows(self._state.pool, parent.number, self._perfect)
        return minibatch(parent.records, new, hard, self._settings_of.minibatch, most_known, rng)

    def _advance(self, task: Task, parent: Individual) -> bool:
        """Make the step after a look ready, or the look itself; False, and nothing changed, if there is none."""
        if any(row not in parent.records for row in task.rows):
            return self._state.make_ready("look", task)
        if not self._has_mistake(list(parent.records) if task.kind == "reflect" else task.rows, parent):
            return False
        if task.kind == "vary":
            return self._state.make_ready("test", task)
        task.errands = self._writer.errands(task, parent, self._state.pool, self._worths())
        return bool(task.errands) and self._state.make_ready("write", task)

    def _is_taken(self, candidate: Candidate) -> bool:
        return candidate.key in self.book.seen or self._state.holds(candidate)

    # ---- what is told

    def _looked(self, task: Task, told: Told) -> None:
        parent = self._state.pool[task.parent]
        for row, record in records_of(told, self._sketch, self._sign).items():
            parent.records.setdefault(row, record)
        task.rows = [row for row in task.rows if row in parent.records]  # the others were lost
        if told.failed is not None or not task.rows:
            self._state.close(task, "failed")
        elif not self._advance(task, parent) and not self._looked_on(task, parent):
            self._state.close(task, "nothing wrong")

    def _looked_on(self, task: Task, parent: Individual) -> bool:
        """Look for a mistake in a further minibatch of new rows."""
        if task.chunks >= _MOST_CHUNKS or self._has_mistake(task.rows, parent):
            return False
        rng = seeded(self.context.seed, self.name, task.number, "chunk", task.chunks)
        rows = [row for row in self._minibatch(parent, 0, rng) if row not in parent.records]
        if not rows:
            return False
        task.rows, task.chunks = rows, task.chunks + 1
        return self._state.make_ready("look", task)

    def _has_mistake(self, rows: list[int], parent: Individual) -> bool:
        gains = [parent.records[row]["gain"] for row in rows]
        return any(gain is not None and gain < self._perfect for gain in gains)

    def _wrote(self, task: Task, told: Told) -> None:
        name, parent = next(iter(task.errands)), self._state.pool[task.parent]
        del task.errands[name]
        answer = told.outputs[0] if told.failed is None and told.outputs else None
        text, refused = self._writer.read(answer, str(parent.candidate.values[name]), name)
        if text is not None:
            task.texts[name] = text
        if task.errands:
            self._state.make_ready("write", task)
        elif not task.texts:
            self._state.close(task, refused)
        else:
            self._conceived(task, parent)

    def _conceived(self, task: Task, parent: Individual) -> None:
        """Have the child of an attempt tested, with its new instructions and perhaps more demonstrations."""
        rng = seeded(self.context.seed, self.name, task.number, "child")
        values: dict[str, Any] = {**parent.candidate.values, **task.texts}
        for name in self._showing.names:
            if rng.random() < self._settings_of.show:
                values[name] = self._showing.more(name, parent, self._state.pool, rng) or values[name]
        child = self.space.repair(values, rng)
        if child is None or self._is_taken(child):
            self._state.close(task, "repeated")
        else:
            task.child = child.to_json()
            self._state.make_ready("test", task)

    def _tested(self, task: Task, told: Told) -> None:
        if told.failed is not None or not told.rows:
            self._state.close(task, "failed")
            return
        parent, records = self._state.pool[task.parent], records_of(told, self._sketch, self._sign)
        if not is_better(records, parent.records):
            self._state.close(task, "not better")
            return
        self._state.close(task, "accepted")
        turn = task.turn + (task.kind == "reflect")
        child = Individual(len(self._state.pool), told.candidate, parent.number, turn, records=records)
        child.violation = parent.violation
        self._state.pool.append(child)

    # ---- the race over the validation split

    def _may_validate(self) -> bool:
        paid = self._state.train_rows + self._state.validation_rows
        return self._state.validation_rows <= self._settings_of.validation_share * paid

    def _validated(self, number: int, one: Individual) -> Ask:
        """Look at a candidate on more validation rows than before."""
        rows, before = self.context.validation_rows, one.looked
        one.looked = next_part(one, self._state.pool, self._worths(), rows, self._settings_of)
        self._state.validation_rows += one.looked - before
        self._state.duties[number] = ("race", one.number)
        return Ask(one.candidate, rows=None if one.looked >= rows else tuple(sorted(self._order[: one.looked])))

    def _raced(self, individual: Individual, told: Told) -> None:
        if told.mean is None:
            individual.standing = "dropped"
            return
        before = incumbent(self._state.pool)
        known = {row: score for row, score in zip(told.rows, told.scores, strict=True) if score is not None}
        individual.gains = {row: self._sign * score for row, score in known.items()}
        individual.violation = violation(told.measures, self.context.bounds)
        if individual.looked >= self.context.validation_rows:
            individual.standing = "whole"
            if incumbent(self._state.pool) is not before:
                self._state.stale = 0

    def _is_solved(self) -> bool:
        best = incumbent(self._state.pool)
        return best is not None and is_perfect(best, self.context.validation_rows, self._perfect)
