"""What SIMBA changes in a candidate. Each function returns the new values, or None where it declines.

Advice stands in an instruction as further lines: what an instruction has beyond the lines of the default's.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.space import Space
from dspex_coordination.variables import Text
from dspex_ray.program_optimizers.bootstrapped import MOST_CHARS, Demo
from dspex_ray.program_optimizers.proposals_evidence import secret_names
from dspex_ray.program_optimizers.run_evidence import Record, shortened
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

Values = dict[str, Any]

_REDRAWN = 0.5  # chance that a value is drawn afresh instead of moved to a near one
_STRENGTH = 0.3


class Changes:
    """The changes that are possible in a space, within so many demonstrations and characters of advice a model call."""

    def __init__(self, sketch: ProgramSketch, space: Space, *, most_demos: int, most_chars: int) -> None:
        self._sketch, self._space, self._most_chars = sketch, space, most_chars
        secret = secret_names(sketch)
        self._limits = {
            one.place: min(one.most_demos, most_demos)
            for one in sketch.predictors
            if one.demos_name in space.demos and not any(each.name in secret for each in one.inputs)
        }
        self._rows = {row.id: row for row in sketch.rows}
        self._default = {name: str(value) for name, value in space.default().values.items()}
        self.told = tuple(one for one in sketch.predictors if self._is_open(one.instruction_name))
        self.showing = tuple(one for one in sketch.predictors if self._limits.get(one.place))
        written = {one.instruction_name for one in self.told}
        free = sorted(set(space.free) - written)
        self.movable = tuple(name for name in free if space.variables[name].cardinality != 1)

    def _is_open(self, name: str) -> bool:
        variable = self._space.variables.get(name)
        return isinstance(variable, Text) and variable.pool is None and name in self._space.free

    def advice(self, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the advice in each instruction, the oldest first."""
        own = {one.instruction_name: self._default[one.instruction_name].splitlines() for one in self.told}
        return {
            name: [line for line in str(values[name]).splitlines() if line not in base] for name, base in own.items()
        }

    def advised(self, values: Mapping[str, Any], new: Mapping[str, Collection[str]]) -> Values | None:
        """Add advice; where there is no room the oldest gives way."""
        made = dict(values)
        for name, held in self.advice(values).items():
            most = len(self._default[name]) + self._most_chars
            most = min(most, getattr(self._space.variables[name], "max_chars", None) or most)
            lines = str(values[name]).splitlines()
            lines += [one for one in new.get(name, ()) if one not in lines]
            while held and len("\n".join(lines)) > most:
                lines.remove(held.pop(0))
            text = "\n".join(lines)
            made[name] = text if len(text) <= most else values[name]
        return None if made == values else made

    def dropped(self, values: Mapping[str, Any], rng: random.Random) -> Values | None:
        """Leave out one piece of advice, or one demonstration."""
        fewer: list[tuple[str, Any]] = []
        for name, pieces in self.advice(values).items():
            lines = str(values[name]).splitlines()
            fewer += [(name, "\n".join(line for line in lines if line != piece)) for piece in pieces]
        for one in self.showing:
            held = self._held(one, values) or []
            left = [[other for other in held if other != demo] for demo in held]
            fewer += [(str(one.demos_name), {"select": "given", "demos": demos}) for demos in left]
        return {**values, **dict([rng.choice(fewer)])} if fewer else None

    def demonstrated(
        self, values: Mapping[str, Any], runs: Sequence[tuple[int, Record]], rng: random.Random
    ) -> Values | None:
        """Show each model call what it answered in good runs, by train row, in front of some it was shown before."""
        made = dict(values)
        for one in self.showing:
            limit, held = self._limits[one.place], self._held(one, values)
            new = [demo for row, record in runs if (demo := self._demo(one, row, record)) is not None]
            if held is None or not new:
                continue
            count = rng.randint(1, min(limit, len(new)))
            fresh = new[:count]
            others = [demo for demo in held if all(demo["of"] != each["of"] for each in fresh)]
            kept = rng.sample(others, min(len(others), limit - count))
            if any(demo not in held for demo in fresh):
                made[str(one.demos_name)] = {"select": "given", "demos": [*kept, *fresh]}
        return None if made == values else made

    def _demo(self, one: Predictor, row: int, record: Record) -> Demo | None:
        """Return the last answer of a model call in a run; what was cut, or is long, is none."""
        steps = [step for step in record["steps"].get(one.place, ()) if "output" in step]
        if not steps or shortened(steps[-1]) != steps[-1] or len(canonical_json(steps[-1])) > MOST_CHARS:
            return None
        return {"input": steps[-1]["input"], "output": steps[-1]["output"], "of": self._sketch.rows[row].content_id}

    def _held(self, one: Predictor, values: Mapping[str, Any]) -> list[Demo] | None:
        """Return what is shown as given demonstrations; None where it depends on the question or cannot be told."""
        match values.get(str(one.demos_name)):
            case {"select": "given", "demos": [*demos]}:
                return list(demos)
            case {"select": "fixed", "ids": [*ids]} if not ids or (not one.place and set(ids) <= self._rows.keys()):
                rows = [self._rows[each] for each in ids]
                return [{"input": dict(row.input), "output": dict(row.output), "of": row.content_id} for row in rows]
        return None

    def moved(self, values: Mapping[str, Any], rng: random.Random) -> Values | None:
        """Move one of the other values, or two."""
        names = [name for name in self.movable if name in values]
        made = dict(values)
        for name in rng.sample(names, min(len(names), rng.choice((1, 1, 2)))):
            variable = self._space.variables[name]
            afresh = rng.random() < _REDRAWN
            made[name] = variable.sample(rng) if afresh else variable.mutate(made[name], rng, _STRENGTH)
        return None if made == values else made

    def grafted(self, onto: Mapping[str, Any], donor: Mapping[str, Any], former: Mapping[str, Any]) -> Values | None:
        """Make the change that led from `former` to `donor` here as well."""
        made = dict(onto)
        for name in self.movable:
            if name in donor and name in made and donor[name] != former.get(name):
                made[name] = donor[name]
        before = self.advice(former)
        new = {name: [one for one in pieces if one not in before[name]] for name, pieces in self.advice(donor).items()}
        made = self.advised(made, new) or made
        return None if made == onto else made
