"""What a writer is shown of runs on train rows: kept short, the worst first and one that went well."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dspex_coordination.optimizers.base import Told
from dspex_ray.example import Example, as_text
from dspex_ray.program_optimizers.proposals_evidence import secret_names
from dspex_ray.program_optimizers.proposals_guard import copied_from
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

MOST_FIELD_CHARS = 2_000
"""Of one value; the middle of a longer one is left out."""

MOST_STEPS_SHOWN = 3
"""Of one predictor in one run: the last ones."""

Record = dict[str, Any]
"""JSON of one train row: `gain` (None: no score), `output`, `error`, `feedback`, `steps` by place."""


def records_of(told: Told, sketch: ProgramSketch, sign: float) -> dict[int, Record]:
    """Return what a traced trial on train rows tells, by row, without the fields that hold a secret."""
    found: dict[int, Record] = {}
    hidden = secret_names(sketch)
    notes = told.notes or (None,) * len(told.rows)
    for row, score, output, note in zip(told.rows, told.scores, told.outputs, notes, strict=True):
        steps = sketch.steps_by_place(note)
        found[row] = {
            "gain": None if score is None else sign * score,
            "output": shortened(_open(output, hidden)),
            **{name: shortened((note or {}).get(name)) for name in ("error", "feedback")},
            "steps": {
                place: [
                    shortened({name: _open(part, hidden) for name, part in one.items()})
                    for one in every[-MOST_STEPS_SHOWN:]
                ]
                for place, every in steps.items()
            },
        }
    return found


def shortened(value: Any, most: int = MOST_FIELD_CHARS) -> Any:
    """Return JSON whose texts are at most about `most` characters long, without their middle if need be."""
    if isinstance(value, str):
        if len(value) <= most:
            return value
        half = most // 2
        return f"{value[:half]} [... {len(value) - 2 * half} characters ...] {value[-half:]}"
    if isinstance(value, Mapping):
        return {name: shortened(one, most) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(one, most) for one in value]
    return value


def runs(
    predictor: Predictor,
    rows: Sequence[Example],
    records: Mapping[int, Record],
    *,
    most: int,
    most_chars: int,
    perfect: float,
    hidden: Collection[str] = (),
) -> list[str]:
    """Return up to `most` runs as text, `most_chars` together: the worst first; the last one, if any, went well.

    The order of `records` decides among equals. A call that no run made gives none. Fields in `hidden` are not shown.
    """
    known = {row: record for row, record in records.items() if record["gain"] is not None}
    made = [row for row, record in known.items() if not record["steps"] or predictor.place in record["steps"]]
    bad = sorted((row for row in made if known[row]["gain"] < perfect), key=lambda row: float(known[row]["gain"]))
    good = [row for row in made if known[row]["gain"] >= perfect]
    if not bad:
        return []
    chosen = [*bad[: most - 1], *good[:1]] if good and most > 1 else bad[:most]
    texts: list[str] = []
    for row in chosen:
        text = _run(predictor, rows[row], known[row], hidden)
        room = most_chars - sum(map(len, texts))
        if len(text) > room and texts:
            break
        texts.append(shortened(text, max(room, 2)))
    return texts


def _run(predictor: Predictor, example: Example, record: Record, hidden: Collection[str]) -> str:
    given, right = _open(example.input, hidden), _open(example.output, hidden)
    steps = record["steps"].get(predictor.place) or [{"input": shortened(given), "output": record["output"]}]
    parts = [_part("input", given)] if predictor.place else []
    for step in steps:
        parts.append(_part("given to this call", step["input"]))
        parts.append(_part("answered by this call", step.get("output", step.get("error"))))
    if predictor.place or len(steps) > 1:
        parts.append(_part("result of the program", record["output"]))
    parts.append(_part("expected", right))
    parts.append(f"score: {abs(record['gain']):.3g}")
    if record["error"] != record["feedback"]:
        parts += [_part("error", record["error"])] if record["error"] else []
    parts += [_part("feedback", record["feedback"])] if record["feedback"] else []
    return "\n".join(parts)


def _open(value: Any, hidden: Collection[str]) -> Any:
    """Return a value, of an object the fields that may be shown."""
    return {name: one for name, one in value.items() if name not in hidden} if isinstance(value, Mapping) else value


def _part(title: str, value: Any) -> str:
    value = shortened(value)
    text = as_text(value) if isinstance(value, Mapping) and value else _plain(value)
    return f"{title}:\n  {text}".replace("\n", "\n  ") if "\n" in text else f"{title}: {text}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def described(sketch: ProgramSketch, predictor: Predictor) -> str:
    """Return which call of the program this is, and its fields."""
    sides = [
        f"{side}: " + ", ".join(_field(one.name, one.type, one.description) for one in fields)
        for side, fields in (("inputs", predictor.inputs), ("outputs", predictor.outputs))
    ]
    whole = "the only model call" if len(sketch.predictors) == 1 else f"one of {len(sketch.predictors)} model calls"
    return "\n".join([f"{predictor.place or sketch.name}, {whole} of {sketch.name}", *sides])


def _field(name: str, kind: str, description: str) -> str:
    return f"{name} ({kind}; {description})" if description else f"{name} ({kind})"


def copies_input(text: str, known: str, rows: Sequence[Example]) -> bool:
    """Say whether a text repeats a train row's input (see `copied_from`) where what was `known` before does not."""
    copied = copied_from(text, rows)
    return copied is not None and copied not in " ".join(re.findall(r"\w+", known.casefold()))
