"""What SIMBA changes in a candidate: advice appended, a demonstration appended, other values moved, a change grafted.

Each change returns the new values, or None where it declines; it draws from `rng` alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import SpaceError
from dspex_coordination.space import Space
from dspex_coordination.variables import Text
from dspex_ray.program_optimizers.simba_runs import Run
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

_MOVE_STRENGTH = 0.3
_REDRAWN = 0.5  # chance that a value is drawn afresh instead of moved to a near one
_GAP = "\n\n"

Advice = Mapping[str, Sequence[str]]
"""By the name of an instruction what was appended to it, the oldest first."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A new candidate, and the advice in its instructions."""

    candidate: Candidate
    advice: Advice = field(default_factory=dict)


class Changes:
    """The changes that are possible in a space. Demonstrations and pieces of advice a model call are bounded."""

    def __init__(self, sketch: ProgramSketch, space: Space, *, most_demos: int, most_advice: int) -> None:
        self._sketch, self._space = sketch, space
        self._most_demos, self._most_advice = most_demos, most_advice
        self._rows = {example.id: example for example in sketch.rows}
        self.instructions = tuple(
            one.instruction_name for one in sketch.predictors if self._is_open_text(one.instruction_name)
        )
        self.shown = tuple(
            one for one in sketch.predictors if one.demos_name in space.demos and min(one.most_demos, most_demos) > 0
        )
        written = {one.instruction_name for one in sketch.predictors if self._is_open_text(one.instruction_name)}
        self.movable = tuple(
            name for name in sorted(space.free) if name not in written and space.variables[name].cardinality != 1
        )

    def _is_open_text(self, name: str) -> bool:
        variable = self._space.variables.get(name)
        return isinstance(variable, Text) and variable.pool is None and name in self._space.free

    def advised(self, values: Mapping[str, Any], known: Advice, new: Mapping[str, Sequence[str]]) -> Changed | None:
        """Append advice to instructions; beyond the limit the oldest gives way. None if there is nothing new."""
        advice, texts = {name: list(old) for name, old in known.items()}, dict(values)
        for name, pieces in new.items():
            for piece in pieces:
                self._append(name, piece, texts, advice)
        return None if texts == dict(values) else self._made(texts, advice)

    def _append(self, name: str, piece: str, texts: dict[str, Any], advice: dict[str, list[str]]) -> None:
        if name not in self.instructions or not isinstance(texts.get(name), str) or piece in texts[name]:
            return
        old = advice.get(name, [])
        base = texts[name].removesuffix("".join(f"{_GAP}{one}" for one in old))
        most = getattr(self._space.variables[name], "max_chars", None)
        kept = [*old, piece][-self._most_advice :]
        while kept:
            text = base + "".join(f"{_GAP}{one}" for one in kept)
            if most is None or len(text) <= most:
                texts[name], advice[name] = text, kept
                return
            kept = kept[1:]

    def demonstrated(self, values: Mapping[str, Any], known: Advice, run: Run, rng: random.Random) -> Changed | None:
        """Show each model call what it was given and answered in a run, as one more demonstration."""
        texts, of = dict(values), self._sketch.rows[run.row].content_id
        for one in self.shown:
            step = next((step for step in reversed(run.steps) if step["place"] == one.place and "output" in step), None)
            if step is not None:
                self._show(one, {"input": step["input"], "output": step["output"], "of": of}, texts, rng)
        return None if texts == dict(values) else self._made(texts, known)

    def _show(self, predictor: Predictor, demo: Mapping[str, Any], texts: dict[str, Any], rng: random.Random) -> None:
        name = predictor.demos_name or ""
        held = self._given(predictor, texts.get(name))
        if held is None or demo in held or any(one["of"] == demo["of"] for one in held):
            return
        limit = min(predictor.most_demos, self._most_demos)
        while len(held) >= limit:
            del held[rng.randrange(len(held))]
        texts[name] = {"select": "given", "demos": [*held, dict(demo)]}

    def _given(self, predictor: Predictor, value: Any) -> list[dict[str, Any]] | None:
        """Return what is shown as given demonstrations; None where it cannot be told, or depends on inputs."""
        match value:
            case {"select": "given", "demos": [*demos]}:
                return list(demos)
            case {"select": "fixed", "ids": []}:
                return []
            case {"select": "fixed", "ids": [*ids]} if not predictor.place and all(one in self._rows for one in ids):
                rows = [self._rows[one] for one in ids]
                return [{"input": one.input, "output": one.output, "of": one.content_id} for one in rows]
        return None

    def moved(self, values: Mapping[str, Any], known: Advice, rng: random.Random) -> Changed | None:
        """Move one of the other values, or two."""
        names = [name for name in self.movable if name in values]
        if not names:
            return None
        texts = {name: value for name, value in values.items() if name in self._space.free}
        for name in rng.sample(names, min(len(names), rng.choice((1, 1, 2)))):
            variable = self._space.variables[name]
            if rng.random() < _REDRAWN:
                texts[name] = variable.sample(rng)
            else:
                texts[name] = variable.mutate(texts[name], rng, _MOVE_STRENGTH)
        candidate = self._space.repair(texts, rng)
        return None if candidate is None else Changed(candidate, known)

    def grafted(self, onto: Changed, donor: Changed, former: Changed, rng: random.Random) -> Changed | None:
        """Make the change that led from `former` to `donor` in another candidate as well."""
        values = dict(onto.candidate.values)
        for name in sorted(set(self.movable) & set(donor.candidate.values) & set(values)):
            was, now = former.candidate.values.get(name), donor.candidate.values[name]
            if was == now:
                continue
            predictor = next((one for one in self.shown if one.demos_name == name), None)
            if predictor is None or now.get("select") != "given":
                values[name] = now
                continue
            for demo in now["demos"]:
                if demo not in (self._given(predictor, was) or ()):
                    self._show(predictor, demo, values, rng)
        new = {
            name: [one for one in pieces if one not in former.advice.get(name, ())]
            for name, pieces in donor.advice.items()
        }
        merged = self.advised(values, onto.advice, new) or self._made(values, onto.advice)
        return None if merged is None or merged.candidate == onto.candidate else merged

    def _made(self, values: Mapping[str, Any], advice: Advice) -> Changed | None:
        try:
            return Changed(self._space.validate(values), advice)
        except SpaceError:
            return None  # a constraint forbids it: the change declines
