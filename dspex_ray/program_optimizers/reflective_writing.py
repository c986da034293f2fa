"""`Writer`: what a model is asked to write for an attempt, and which of its answers are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_coordination.space import Space
from dspex_ray.errands import errand
from dspex_ray.program_optimizers.proposals_evidence import secret_names
from dspex_ray.program_optimizers.reflective_advice import ReviseInstruction
from dspex_ray.program_optimizers.reflective_pool import Individual, complements, solved_share
from dspex_ray.program_optimizers.reflective_settings import ReflectiveSettings
from dspex_ray.program_optimizers.reflective_task import Task
from dspex_ray.program_optimizers.run_evidence import copies_input, described, runs
from dspex_ray.program_optimizers.shrunken_scores import Estimate
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

_MOST_OTHERS = 2  # instructions of other candidates that a reflection is shown


class Writer:
    """The errands of attempts, and the reading of what comes back."""

    def __init__(
        self,
        sketch: ProgramSketch,
        predictors: tuple[Predictor, ...],
        space: Space,
        settings: ReflectiveSettings,
        perfect: float,
    ) -> None:
        self._sketch, self._predictors, self._settings, self._perfect = sketch, predictors, settings, perfect
        self._bounds: dict[str, int | None] = {
            one.instruction_name: getattr(space.variables[one.instruction_name], "max_chars", None)
            for one in predictors
        }

    def errands(
        self, task: Task, parent: Individual, pool: list[Individual], worth: Mapping[int, Estimate]
    ) -> dict[str, dict[str, Any]]:
        """Return what to have written, by the name of the variable: one of the model calls in turn, or all of them.

        A call that took part in no run that went wrong is passed over. {} if there is no other.
        """
        others = complements(pool, worth, parent, self._perfect, _MOST_OTHERS) if task.crossed else []
        rest = [row for row in sorted(parent.records) if row not in task.rows]
        rest.sort(key=lambda row: solved_share(pool, row, self._perfect))  # what nobody can do yet teaches most
        records = {row: parent.records[row] for row in (*task.rows, *rest)}
        count = len(self._predictors)
        found: dict[str, dict[str, Any]] = {}
        for predictor in [self._predictors[(task.turn + step) % count] for step in range(count)]:
            shown = runs(
                predictor,
                self._sketch.rows,
                records,
                most=self._settings.runs_shown,
                most_chars=self._settings.prompt_chars,
                perfect=self._perfect,
                hidden=secret_names(self._sketch),
            )
            if shown:
                name = predictor.instruction_name
                texts = [str(one.candidate.values[name]) for one in (parent, *others)]
                found[name] = errand(ReviseInstruction, self._given(predictor, shown, texts), task.number + 1)
                if not task.every_call:
                    break
        return found

    def read(self, answer: Any, present: str, name: str) -> tuple[str | None, str]:
        """Return the new instruction in an answer; None, and why, if it is not taken."""
        text = answer.get("instruction") if isinstance(answer, dict) else None
        if not isinstance(text, str) or not text.strip():
            return None, "no answer"
        text = text.strip()
        if text == present.strip():
            return None, "repeated"
        if len(text) > self._most_chars(name, present):
            return None, "too long"
        if copies_input(text, present, self._sketch.rows):
            return None, "copied"
        return text, ""

    def _given(self, predictor: Predictor, shown: list[str], texts: list[str]) -> dict[str, Any]:
        """Return what a reflection is shown; the first text is the present one."""
        present, *others = dict.fromkeys(texts)
        return {
            "program": self._sketch.purpose,
            "call": described(self._sketch, predictor),
            "instruction": present,
            "runs": "\n\n".join(f"Run {number}:\n{text}" for number, text in enumerate(shown, 1)),
            "others": "\n\n".join(others),
            "most_characters": self._most_chars(predictor.instruction_name, present),
        }

    def _most_chars(self, name: str, present: str) -> int:
        most = max(self._settings.most_chars, len(present))
        bound = self._bounds[name]
        return most if bound is None else min(most, bound)
